"""An S3 server on loopback: moto's."""

import contextlib
import os
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

BUCKET = "models"


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """The server, with one empty bucket, and the variables that lead to it; skips where the extra `test` is absent."""
    pytest.importorskip("s3fs", reason="needs the extra hub")
    with warnings.catch_warnings():
        # Of libraries below, as they are imported.
        warnings.simplefilter("ignore")
        server = pytest.importorskip("moto.server", reason="needs the extra test (moto)")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    url = f"http://{host}:{port}"
    variables = {
        "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    try:
        with mock.patch.dict(os.environ, variables):
            # What an earlier server of this process had is still there.
            urllib.request.urlopen(f"{url}/moto-api/reset", b"").close()
            files().mkdir(BUCKET)
            yield url
    finally:
        running.stop()


def files():  # type: ignore[no-untyped-def]
    """The bucket as a user of s3fs sees it."""
    import s3fs

    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)


def upload(folder: Path, prefix: str) -> None:
    """All files below a folder, below a prefix of the bucket."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            put(f"{prefix}/{file.relative_to(folder).as_posix()}", file.read_bytes())


def put(key: str, content: bytes) -> None:
    """One object."""
    files().pipe_file(f"{BUCKET}/{key}", content)

"""Objects of S3 and Google Cloud Storage, through fsspec's file systems; credentials from where those look for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from xray_jax.sweep.sources.address import Address, SourceError
from xray_jax.sweep.sources.hub import EXTRA
from xray_jax.sweep.sources.options import SourceOptions
from xray_jax.sweep.sources.remote import Body, RemoteFile
from xray_jax.sweep.sources.transient import TransientError

T = TypeVar("T")
_BLOCK = 1 << 20
_DENIED = ("403", "401", "AccessDenied", "Forbidden", "Unauthorized", "InvalidAccessKeyId", "SignatureDoesNotMatch")


class Bucket:
    """Objects of the buckets of one kind, "s3" or "gs"."""

    def __init__(self, scheme: str, options: SourceOptions) -> None:
        """Raises `SourceError`: its file system is not installed."""
        try:
            self._files = _s3(options) if scheme == "s3" else _gcs(options)
        except ImportError as error:
            raise SourceError(
                f"{scheme}:// needs {'s3fs' if scheme == 's3' else 'gcsfs'}: {EXTRA} ({error})"
            ) from error

    def listing(self, address: Address) -> tuple[list[RemoteFile], str | None]:
        """The objects at or below the address; each has a revision of its own."""

        def find() -> dict[str, Any]:
            found: dict[str, Any] = self._files.find(address.path, detail=True)
            if address.path not in found and "/" in address.path and not address.shown.endswith("/"):
                # Of an object with others below its name, only they are found.
                with suppress(FileNotFoundError):
                    found[address.path] = self._files.info(address.path)
            return found

        found = self._ask(address, find)
        files = []
        for path, info in sorted(found.items()):
            if info.get("type") == "file" and not path.endswith("/"):
                name = path.removeprefix("/").split("/", 1)[1]
                files.append(RemoteFile(name, path, info.get("size"), _tag(info)))
        if not files:
            raise SourceError(f"{address.shown}: no object of such a name or prefix: check the address")
        return files, None

    @contextmanager
    def open(self, address: Address, file: RemoteFile, revision: str | None, offset: int) -> Iterator[Body]:
        """The object's bytes by ranges, while it is still the content that was listed."""
        info = self._ask(address, lambda: self._files.info(file.key))
        if file.tag is not None and _tag(info) != file.tag:
            raise SourceError(f"{address.shown}: it changed after it was listed; run the command again")
        yield Body(offset, info["size"], self._blocks(address, file, offset, info["size"]))

    def _blocks(self, address: Address, file: RemoteFile, offset: int, size: int) -> Iterator[bytes]:
        while offset < size:
            end = min(offset + _BLOCK, size)
            read = partial(self._files.cat_file, file.key, start=offset, end=end)
            block: bytes = self._ask(address, read)
            if not block:
                return
            offset += len(block)
            yield block
        if file.tag is not None and _tag(self._ask(address, lambda: self._files.info(file.key))) != file.tag:
            raise SourceError(f"{address.shown}: it changed while it was fetched; run the command again")

    def _ask(self, address: Address, action: Callable[[], T]) -> T:
        try:
            return action()
        except FileNotFoundError as error:
            raise SourceError(f"{address.shown}: no such bucket or object: check the address") from error
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
            if isinstance(error, PermissionError) or any(word in text for word in _DENIED):
                raise SourceError(
                    f"{address.shown}: no access ({type(error).__name__}); {_ADVICE[address.scheme]}"
                ) from error
            if "NoCredentials" in text:
                raise SourceError(f"{address.shown}: no credentials; {_ADVICE[address.scheme]}") from error
            raise TransientError(f"{address.shown}: {text}") from error


_ADVICE = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or FSSPEC_S3_ANON=true for a public bucket",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or FSSPEC_GS_TOKEN=anon for a public bucket",
}


def _tag(info: dict[str, Any]) -> str | None:
    """Version, ETag or generation of an object."""
    found = info.get("generation") or info.get("ETag") or info.get("etag")
    return None if found is None else str(found).strip('"')


_FRESH = {"skip_instance_cache": True, "use_listings_cache": False}
"""Instances that are kept do not know that the environment has changed, nor listings what lies there since."""


def _s3(options: SourceOptions) -> Any:
    import s3fs

    limits = {"connect_timeout": options.timeout, "read_timeout": options.timeout, "retries": {"max_attempts": 1}}
    return s3fs.S3FileSystem(config_kwargs=limits, **_FRESH)


def _gcs(options: SourceOptions) -> Any:
    import gcsfs

    return gcsfs.GCSFileSystem(timeout=options.timeout, **_FRESH)

"""Addresses: what each part of one means, what is refused, and that secrets are never shown."""

import pytest

from xray_jax.sweep.sources.address import SourceError, credentials, parse


@pytest.mark.parametrize(
    ("text", "repository", "revision", "path", "shown"),
    [
        ("hf://owner", "", None, "", "hf://owner"),
        ("hf://owner/name", "owner/name", None, "", "hf://owner/name"),
        ("hf://owner/name@v1.0", "owner/name", "v1.0", "", "hf://owner/name"),
        ("hf://owner/name@refs%2Fpr%2F1/a/b.pth", "owner/name", "refs/pr/1", "a/b.pth", "hf://owner/name/a/b.pth"),
        ("s3://bucket/a/b.pth", "", None, "bucket/a/b.pth", "s3://bucket/a/b.pth"),
        ("gs://bucket", "", None, "bucket", "gs://bucket/"),
        ("https://me:pw@host:8443/a%20b.pth?X-Sig=1#x", "", None, "/a%20b.pth", "https://host:8443/a%20b.pth"),
    ],
)
def test_parts(text: str, repository: str, revision: str | None, path: str, shown: str) -> None:
    found = parse(text)
    assert found is not None
    assert (found.repository, found.revision, found.path, found.shown) == (repository, revision, path, shown)
    assert "pw" not in repr(found)
    assert "Sig" not in repr(found)


@pytest.mark.parametrize("text", ["zoo/", "/data/model.pth", "a:b.pth", "C:/models", "model@v1.pth"])
def test_plain_paths_are_no_addresses(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("file:///etc/passwd", "plain path"),
        ("ftp://me:pw@host/x.pth", "not read"),
        ("hf://datasets/owner/name", "of models"),
        ("hf://owner/name@", "expected hf://"),
        ("hf://", "expected hf://"),
        ("s3://key:pw@bucket/x", "credentials from the environment"),
        ("https:///x.pth", "no server"),
        ("https://host:port/x.pth", "not an address"),
        ("https://host/a b.pth", "no spaces"),
        ("https://hôst/x.pth", "as xn--hst-kna"),
        ("https://a..b/x.pth", "not an address"),
        ("https://host/\udce8.pth", "not an address"),
    ],
)
def test_refused(text: str, what: str) -> None:
    with pytest.raises(SourceError, match=what) as error:
        parse(text)
    assert "me:pw" not in str(error.value)


def test_user_and_password_leave_the_url() -> None:
    assert credentials("https://me:p%40w@host/x?y=1") == ("https://host/x?y=1", {"Authorization": "Basic bWU6cEB3"})
    assert credentials("https://host/x") == ("https://host/x", {})

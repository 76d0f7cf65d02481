"""Addresses of checkpoints that lie elsewhere: read, checked, and shown without the secrets that they may carry."""

import base64
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

HUB, WEB, BUCKETS = "hf", ("https", "http"), ("s3", "gs")
SCHEMES = (HUB, *BUCKETS, *WEB)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_OWNER = re.compile(r"[A-Za-z0-9][\w.-]*")


class SourceError(ValueError):
    """A checkpoint cannot be fetched; the message names its address, what was expected and what to do."""


@dataclass(frozen=True)
class Address:
    """Where a checkpoint, or a folder of them, lies.

    Attributes:
      scheme: one of `SCHEMES`.
      shown: without user, password, query and fragment: what rows, logs and messages may hold.
      full: as it was given; may hold secrets.
      owner: hub: the user or organisation. repository: hub: "owner/name", or empty for all of the owner.
      revision: hub: as it was asked for; None for the default branch.
      path: inside the repository, or bucket and key, or of the URL; may be empty.
    """

    scheme: str
    shown: str
    full: str = field(repr=False)
    owner: str = ""
    repository: str = ""
    revision: str | None = None
    path: str = ""

    @property
    def name(self) -> str:
        """The last part of the address: what the checkpoint's row is called by default."""
        return PurePosixPath(unquote(urlsplit(self.shown).path)).name or self.repository or self.owner or self.path

    @property
    def has_query(self) -> bool:
        """Whether two contents may be shown alike."""
        return bool(urlsplit(self.full).query) and self.scheme in WEB


def parse(text: str) -> Address | None:
    """The address that `text` is; None for a plain path.

    Raises:
      SourceError: an address of a kind that is not read, or of no meaning.
    """
    match = _SCHEME.match(text)
    if match is None:
        return None
    scheme = match[1].lower()
    if scheme == "file":
        raise SourceError(f"{shown(text)}: write a file of this machine as a plain path, without file://")
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise SourceError(f"{shown(text)}: {scheme}:// is not read; give a path, or an address with {known}")
    if any(ord(character) <= 32 or ord(character) == 127 for character in text):
        raise SourceError(f"{shown(text)!r}: an address has no spaces or control characters; write them as %20")
    try:
        parts = urlsplit(text)
        host, _ = (parts.hostname, parts.port) if scheme in WEB else (None, None)
        # Also refuses what is no text: bytes of a command line that are none.
        text.encode()
        (host or "").encode("idna")
    except ValueError as error:
        raise SourceError(f"{shown(text)}: not an address ({error})") from error
    if scheme == HUB:
        return _hub(text, text[match.end() :])
    if scheme in BUCKETS:
        bucket, _, key = text[match.end() :].partition("/")
        if not bucket or "@" in bucket:
            raise SourceError(f"{shown(text)}: expected {scheme}://bucket/prefix, credentials from the environment")
        return Address(scheme, f"{scheme}://{bucket}/{key}", text, path=f"{bucket}/{key}".rstrip("/"))
    if not host:
        raise SourceError(f"{shown(text)}: it names no server; expected {scheme}://server/path/file")
    if not host.isascii():
        raise SourceError(f"{shown(text)}: write the server's name in ASCII, as {host.encode('idna').decode()}")
    return Address(scheme, shown(text), text, path=parts.path)


def _hub(text: str, rest: str) -> Address:
    owner, _, behind = rest.partition("/")
    # A revision may hold slashes, written as %2F, as in the hub's own addresses.
    name, _, path = behind.partition("/")
    name, _, revision = name.partition("@")
    if not _OWNER.fullmatch(owner) or owner in ("datasets", "spaces", "buckets"):
        raise SourceError(f"{shown(text)}: expected hf://owner, or hf://owner/name[@revision][/file], of models")
    if not name and not behind:
        return Address(HUB, f"hf://{owner}", text, owner)
    if not _OWNER.fullmatch(name) or (not revision and "@" in behind.partition("/")[0]):
        raise SourceError(f"{shown(text)}: expected hf://owner/name[@revision][/file]")
    where = f"{owner}/{name}" + (f"/{path}" if path else "")
    return Address(HUB, f"hf://{where}", text, owner, f"{owner}/{name}", unquote(revision) or None, path.strip("/"))


def shown(text: str) -> str:
    """An address without user, password, query and fragment."""
    scheme, separator, rest = text.partition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0] if scheme.lower() not in BUCKETS else rest
    server, slash, path = rest.partition("/")
    if scheme.lower() != HUB:
        server = server.rpartition("@")[2]
    return f"{scheme}{separator}{server}{slash}{path}"


def credentials(url: str) -> tuple[str, dict[str, str]]:
    """A URL without the user and password in it, and the header that says them instead."""
    parts = urlsplit(url)
    user, at, server = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    code = base64.b64encode(unquote(user).encode()).decode()
    bare = SplitResult(parts.scheme, server, parts.path, parts.query, "")
    return urlunsplit(bare), {"Authorization": f"Basic {code}"}

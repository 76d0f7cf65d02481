"""What is known of a checkpoint that lies elsewhere, before and after it has been looked at."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from xray_jax.sweep.sources.address import Address, SourceError

_LONGEST_PART = 255
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
"""Control characters, what parts names elsewhere, and halves of characters, which no file system and no URL has."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a source.

    Attributes:
      name: below what was listed, parts joined by "/".
      key: what its transport finds it by; may hold secrets.
      size: in bytes; None where the server does not say.
      tag: of this content: a strong ETag or a generation; None where the server has none.
      sha256: as the publisher declares it; None where he does not.
      blob: of a file in a git repository, the name of its content there; None elsewhere.
    """

    name: str
    key: str = field(repr=False)
    size: int | None = None
    tag: str | None = None
    sha256: str | None = None
    blob: str | None = None


@dataclass(frozen=True)
class Remote:
    """A checkpoint that lies elsewhere: one file, or a folder of several.

    Attributes:
      address: of the checkpoint; of what holds it where `files` is empty.
      revision: of its content: a commit, an ETag, a generation; None where the server has none.
      files: what to fetch, by names below the copy's folder; empty where nobody has looked yet.
      main: which of them is the checkpoint; "" for the folder that holds them.
      problem: why it is not fetched; None where it can be.
    """

    address: Address
    revision: str | None = None
    files: tuple[RemoteFile, ...] = ()
    main: str = ""
    problem: str | None = None

    @property
    def size(self) -> int | None:
        """Bytes of all files; None where one is not known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def declared(self) -> str | None:
        """A hash of what a hub declares of the files: commits that change none of them share it; None elsewhere."""
        contents = [(file.name, file.sha256 or file.blob) for file in self.files]
        if not contents or any(content is None for _, content in contents):
            return None
        return hashlib.sha256(json.dumps([self.main, sorted(contents)]).encode()).hexdigest()


@dataclass
class Body:
    """The bytes of a file, from `offset` on.

    Attributes:
      offset: where it begins: what was asked for, or 0 where the server cannot begin elsewhere.
      size: of the whole file; None where the server does not say.
      blocks: the bytes as they come, never empty; small enough that each is worth a look at the limits.
    """

    offset: int
    size: int | None
    blocks: Iterator[bytes]


class Transport(Protocol):
    """How one kind of source is read. Used from several threads at once."""

    def listing(self, address: Address) -> tuple[list[RemoteFile], str | None]:
        """The files at or below an address, and the revision that all of them have, where there is one.

        Raises:
          SourceError: there are none, or the server does not let them be listed.
        """
        ...

    def open(
        self, address: Address, file: RemoteFile, revision: str | None, offset: int
    ) -> AbstractContextManager[Body]:
        """One file's bytes.

        Raises:
          SourceError: it cannot be had; `transient.TransientError` where another attempt may go better.
        """
        ...


def check_name(name: str) -> str:
    """A name that a server gives a file, where it is one below a folder.

    Raises:
      SourceError: it leads elsewhere, or no file system has such names.
    """
    parts = name.split("/")
    long = any(len(part.encode(errors="surrogatepass")) > _LONGEST_PART for part in parts)
    if long or any(part in ("", ".", "..") for part in parts) or _UNUSABLE.search(name):
        raise SourceError(f"{name[:200]!r} is no name of a file below a folder: refused")
    return name

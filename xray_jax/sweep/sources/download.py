"""One file of a source to the disk: within limits, over several attempts, each going on where the last one ended."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import IO

from xray_jax.sweep.sources.address import SourceError
from xray_jax.sweep.sources.options import GIB, SourceOptions
from xray_jax.sweep.sources.remote import Body, Remote, RemoteFile, Transport
from xray_jax.sweep.sources.transient import RestartError, TransientError, pause

_PROGRESS = 1 << 20
"""Bytes more than ever before after which attempts are counted anew."""
_READ = 1 << 20


class Download:
    """Fetches files of one checkpoint, in the time that it may take from here on.

    Attributes:
      left: bytes that the files still to come may have.
    """

    def __init__(self, transport: Transport, remote: Remote, options: SourceOptions, stop: Event) -> None:
        self._transport, self._address, self._revision = transport, remote.address, remote.revision
        self._options, self._stop = options, stop
        self.left = min(options.max_download, options.cache_limit)
        size = self.left if remote.size is None else remote.size
        self._allowed = options.fetch_seconds + size / options.fetch_rate
        self._end = time.monotonic() + self._allowed

    def fetch(self, file: RemoteFile, part: Path) -> str:
        """Fetches one file to `part`, going on from what is there, and returns its SHA-256.

        Raises:
          SourceError: not to be had, too large, or not what was declared; `part` is then of use to another attempt, or
            gone.
        """
        attempt = 0
        with open(part, "a+b") as out:
            if file.size is not None and out.tell() > file.size:
                # Of another answer: there is room for what is declared now.
                _cut(out, 0)
            digest = _digest(out)
            most = out.tell()
            while True:
                try:
                    digest = self._attempt(file, out, digest)
                    break
                except TransientError as error:
                    if isinstance(error, RestartError):
                        digest = _cut(out, 0)
                    # Of a server that begins anew again and again, the same bytes are no progress.
                    attempt = 1 if out.tell() - most >= _PROGRESS else attempt + 1
                    most = max(most, out.tell())
                    pause(error, attempt, self._options, self._stop)
            size = out.tell()
        found = digest.hexdigest()
        if file.sha256 is not None and found != file.sha256:
            part.unlink()
            raise self._error(
                file, f"its SHA-256 is {found}, {file.sha256} was declared: damaged on the way or replaced"
            )
        self.left -= size
        return found

    def _attempt(self, file: RemoteFile, out: IO[bytes], digest: "hashlib._Hash") -> "hashlib._Hash":
        if file.tag is None and self._revision is None:
            # Of what content the bytes that are there are, nobody knows.
            digest = _cut(out, 0)
        if file.size is not None and out.tell() == file.size:
            return digest
        self._check_time(file)
        with self._transport.open(self._address, file, self._revision, out.tell()) as body:
            if body.offset != out.tell():
                digest = _cut(out, body.offset)
            if None not in (body.size, file.size) and body.size != file.size:
                raise self._error(file, f"{file.size} bytes were declared, the server has {body.size}: run again")
            size = file.size if body.size is None else body.size
            self._check(file, size or 0)
            for block in self._in_time(file, body):
                have = out.tell() + len(block)
                if size is not None and have > size:
                    # There is room for what was declared alone.
                    _cut(out, 0)
                    raise self._error(file, f"{size} bytes were declared, the server sends more: run again")
                self._check(file, have)
                out.write(block)
                digest.update(block)
            if size is not None and out.tell() != size:
                raise TransientError(str(self._error(file, f"the body ended at byte {out.tell()} of {size}")))
        return digest

    def _in_time(self, file: RemoteFile, body: Body) -> Iterator[bytes]:
        """The blocks, as long as enough of them come."""
        options, begun, received = self._options, time.monotonic(), 0
        for block in body.blocks:
            yield block
            self._check_time(file)
            if self._stop.is_set():
                raise SourceError("the run is over")
            received += len(block)
            took = time.monotonic() - begun
            if took >= options.slow_window:
                if received < options.slow_bytes:
                    raise TransientError(
                        str(self._error(file, f"only {received} bytes in {took:.0f} s: a slow server"))
                    )
                begun, received = time.monotonic(), 0

    def _check_time(self, file: RemoteFile) -> None:
        if time.monotonic() > self._end:
            raise self._error(
                file, f"not all here after {self._allowed:.0f} s: too slow a server; with --cache another run goes on"
            )

    def _check(self, file: RemoteFile, size: int) -> None:
        if size > self.left:
            raise self._error(file, too_large(size, self._options))

    def _error(self, file: RemoteFile, what: str) -> SourceError:
        name = "" if self._address.shown.endswith(file.name) else f" ({file.name})"
        return SourceError(f"{self._address.shown}{name}: {what}")


def too_large(size: int, options: SourceOptions) -> str:
    """Why a checkpoint of this size is not fetched, and what to do."""
    flag, limit = min(
        ("--max_download", options.max_download), ("--cache_limit", options.cache_limit), key=lambda x: x[1]
    )
    return f"at least {size / GIB:.3g} GiB, more than {flag}={limit / GIB:g} allows: refused; raise it to scan this"


def _cut(out: IO[bytes], size: int) -> "hashlib._Hash":
    """Leaves the first bytes alone, and returns the digest of these."""
    out.truncate(size)
    return _digest(out)


def _digest(out: IO[bytes]) -> "hashlib._Hash":
    """Of all that is in the file, whose end is then where it is written."""
    digest = hashlib.sha256()
    out.seek(0)
    while block := out.read(_READ):
        digest.update(block)
    return digest

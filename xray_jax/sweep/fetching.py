"""Checkpoints of a run that lie elsewhere: fetched ahead of their scans, unless an earlier run has their rows."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from xray_jax.rows.file import identity
from xray_jax.rows.row import EarlierRow, Row
from xray_jax.sweep.checkpoint_list import ELSEWHERE, Entry
from xray_jax.sweep.sources.fetcher import Fetcher
from xray_jax.sweep.sources.options import SourceOptions
from xray_jax.sweep.sources.remote import Remote

_THREADS = 2


def nothing() -> None:
    """What is to be done about a checkpoint of this machine when it has been scanned."""


@dataclass(frozen=True)
class Fetched:
    """What came of fetching one checkpoint.

    Attributes:
      entry: with the path of its copy, where there is one.
      release: to be called when nobody reads the copy any more.
      has_row: whether an earlier run has scanned this content, by its revision; nothing was fetched then.
      reason: why it could not be fetched.
    """

    entry: Entry
    release: Callable[[], None] = nothing
    has_row: bool = False
    reason: str | None = None


class Fetching:
    """Of one run.

    Attributes:
      key: (id, settings hash, version) that a row of an entry has.
    """

    def __init__(
        self,
        options: SourceOptions,
        done: Mapping[tuple[Any, ...], EarlierRow],
        key: Callable[[Entry], tuple[str, str, str]],
        failed: Callable[[Entry, str], Row],
    ) -> None:
        """
        Args:
          options: of the sources.
          done: what earlier runs have rows of, by `rows.file.identity`.
          key: (id, settings hash, version) of an entry.
          failed: the error row of an entry, for a reason.
        """
        self._fetcher = Fetcher(options)
        self._done, self.key, self._failed = done, key, failed
        # A row without a content hash is of a checkpoint that never came.
        self._have = {
            (row["id"], row["settings_hash"], row["version"], row.get("source"), content)
            for row in done.values()
            if row["sha256"] is not None
            for content in (row.get("revision"), row.get("declared"))
            if content is not None
        }

    def turn(self, entry: Entry) -> int | None:
        """The entry's place among those to be fetched, to be taken in the order of the entries; None: it is here."""
        return self._fetcher.turns.take() if _is_elsewhere(entry) else None

    def fetch(self, entry: Entry, turn: int | None, begins: Callable[[], None] = nothing) -> Fetched:
        """The entry with a copy, or why there is none; `begins` is called before anything is fetched."""
        if turn is None or entry.remote is None:
            return Fetched(entry)
        try:
            begins()
            remote = self._fetcher.look(entry.remote)
            entry = replace(entry, remote=remote)
            if self._has_row(entry, remote):
                return Fetched(entry, has_row=True)
            copy = self._fetcher.fetch(remote, turn)
        except Exception as error:
            text = " ".join(str(error).split())[:2000]
            return Fetched(entry, reason=text if isinstance(error, ValueError) else f"{entry.where}: {error!r}"[:2000])
        finally:
            self._fetcher.turns.passes(turn)
        return Fetched(replace(entry, path=copy.path), copy.release)

    def _has_row(self, entry: Entry, remote: Remote) -> bool:
        checkpoint_id, *settings = key = self.key(entry)
        # What a publisher declares of a single file is the hash of its row: a new commit may leave it as it was.
        declared = remote.files[0].sha256 if remote.main and len(remote.files) == 1 else None
        if declared is not None and (checkpoint_id, declared, *settings) in self._done:
            return True
        # Rows do not say what the query was: its ETag may be that of other content.
        return not remote.address.has_query and any(
            content is not None and (*key, remote.address.shown, content) in self._have
            for content in (remote.revision, remote.declared)
        )

    def new_rows(self, fetched: Fetched) -> list[Row]:
        """The error row of what could not be fetched, unless an earlier run says the same."""
        row = self._failed(fetched.entry, fetched.reason or "")
        before = self._done.get(identity(row))
        return [] if before is not None and before.get("reason") == row["reason"] else [row]

    def close(self) -> None:
        """Ends what is being fetched."""
        self._fetcher.close()


class Ahead:
    """Entries as they are ready to be scanned: what lies elsewhere is fetched while others are worked on.

    Those of this machine come in their order. What has been fetched comes before them, since it holds room, and waits
    for nothing that is still being fetched.
    """

    def __init__(self, entries: Iterable[Entry], fetching: Fetching | None, ahead: int) -> None:
        """
        Args:
          fetching: None where nothing lies elsewhere.
          ahead: entries that may be fetched, or ready, at once.
        """
        self._here, self._elsewhere = deque[Entry](), deque[Entry]()
        for entry in entries:
            (self._here if fetching is None or not _is_elsewhere(entry) else self._elsewhere).append(entry)
        self._fetching, self._ahead = fetching, ahead
        self._begun: list[Future[Fetched]] = []
        self._pool = None if fetching is None else ThreadPoolExecutor(_THREADS, "fetch")
        self._lock, self._closed = Lock(), False
        self._ready, self._wake = os.pipe()
        os.set_blocking(self._ready, False)
        os.set_blocking(self._wake, False)

    def __len__(self) -> int:
        return len(self._here) + len(self._elsewhere) + len(self._begun)

    def fileno(self) -> int:
        """Readable when something may have become ready."""
        return self._ready

    def take(self) -> Fetched | None:
        """One that is ready; None where none is."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._ready, 1 << 12)
        fetched = next((each for each in self._begun if each.done()), None)
        if fetched is not None:
            self._begun.remove(fetched)
        while self._elsewhere and len(self._begun) < self._ahead:
            self._begin(self._elsewhere.popleft())
        if fetched is not None:
            return fetched.result()
        return Fetched(self._here.popleft()) if self._here else None

    def close(self) -> None:
        """Begins nothing more."""
        self._here.clear()
        self._elsewhere.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._closed = True
            os.close(self._ready)
            os.close(self._wake)

    def _tell(self, _: "Future[Fetched]") -> None:
        # A pipe that is full tells it already.
        with self._lock, contextlib.suppress(BlockingIOError):
            if not self._closed:
                os.write(self._wake, b".")

    def _begin(self, entry: Entry) -> None:
        assert self._pool is not None
        assert self._fetching is not None
        future = self._pool.submit(self._fetching.fetch, entry, self._fetching.turn(entry))
        future.add_done_callback(self._tell)
        self._begun.append(future)


def _is_elsewhere(entry: Entry) -> bool:
    """Whether it has to be fetched."""
    return entry.remote is not None and entry.path == ELSEWHERE

"""Fetches checkpoints of one run: looked at, made room for, downloaded, checked; and let go of when scanned."""

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from threading import Event, Lock
from typing import TYPE_CHECKING

from xray_jax.sweep.sources.address import SourceError
from xray_jax.sweep.sources.download import Download, too_large
from xray_jax.sweep.sources.listing import Sources
from xray_jax.sweep.sources.options import SourceOptions
from xray_jax.sweep.sources.remote import Remote
from xray_jax.sweep.sources.turns import Turns

if TYPE_CHECKING:
    from xray_jax.sweep.sources.cache import Cache, Held

_LOST = 3


@dataclass(frozen=True)
class Copy:
    """A checkpoint on this machine's disk.

    Attributes:
      path: of the file or folder.
      release: to be called when nobody reads it any more.
    """

    path: Path
    release: Callable[[], None]


class Fetcher:
    """The copies of one run. Its methods may be called from several threads at once.

    Attributes:
      turns: their order: whoever fetches takes a turn first, in the order in which copies are let go of.
    """

    def __init__(self, options: SourceOptions) -> None:
        """Touches nothing before something is fetched."""
        self._options, self._stop = options, Event()
        self._sources = Sources(options, self._stop)
        self.turns = Turns()
        self._lock = Lock()
        self._cache: Cache | None = None
        self._temporary: Path | None = None
        self._held: set[Held] = set()

    def look(self, remote: Remote) -> Remote:
        """What is known of it once its source has been asked.

        Raises:
          SourceError: it is not there, or not to be had.
        """
        if remote.problem is not None:
            raise SourceError(f"{remote.address.shown}: {remote.problem}")
        return self._sources.look(remote)

    def fetch(self, remote: Remote, turn: int) -> Copy:
        """A copy of a checkpoint that has been looked at; nobody removes it before it is released.

        Raises:
          SourceError: it cannot be had, or is larger than may be.
        """
        size, options = remote.size, self._options
        if size is not None and size > min(options.max_download, options.cache_limit):
            raise SourceError(f"{remote.address.shown}: {too_large(size, options)}")
        self.turns.wait(turn)
        try:
            for _ in range(_LOST):
                if (copy := self._copy(remote, turn)) is not None:
                    return copy
        except OSError as error:
            raise SourceError(
                f"{remote.address.shown}: its copy cannot be written ({error.strerror or error})"
            ) from error
        raise SourceError(
            f"{remote.address.shown}: its copy is removed by others as soon as it is there: raise --cache_limit"
        )

    def close(self) -> None:
        """Ends what is being fetched, lets go of all copies, and removes the run's own folder."""
        self._stop.set()
        self.turns.end()
        with self._lock:
            left, self._held = self._held, set()
        for held in left:
            held.release()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _copy(self, remote: Remote, turn: int) -> Copy | None:
        cache = self._made_cache()
        held = cache.hold(_key(remote))
        # Without a revision nobody can tell whether the copy is still what lies there.
        remove = self._options.cache is None or remote.revision is None
        try:
            if held.shared and not held.sound():
                cache.discard(held)
                return None
            if not held.shared and not self._download(remote, held, cache, turn):
                held.release()
                return None
        except BaseException:
            held.release(remove)
            raise
        with self._lock:
            self._held.add(held)
        return Copy(held.copy / remote.main, lambda: self._release(held, remove))

    def _release(self, held: "Held", remove: bool) -> None:
        with self._lock:
            if held not in self._held:
                return
            self._held.remove(held)
        held.release(remove)

    def _download(self, remote: Remote, held: "Held", cache: "Cache", turn: int) -> bool:
        options = self._options
        cache.reserve(held, min(options.max_download, options.cache_limit) if remote.size is None else remote.size)
        self.turns.passes(turn)
        transport = self._sources.transport(remote.address.scheme)
        download = Download(transport, remote, options, self._stop)
        digests = {}
        for number, file in enumerate(remote.files):
            held.take_back(number, file.name)
            digests[file.name] = download.fetch(file, held.part(number))
            held.place(number, file.name)
        if remote.size is None:
            cache.reserve(held, sum((held.copy / name).stat().st_size for name in digests))
        return held.finish(digests)

    def _made_cache(self) -> "Cache":
        from xray_jax.sweep.sources.cache import Cache  # its locks are of Unix only

        with self._lock:
            if self._cache is None:
                folder = self._options.cache
                if folder is None:
                    folder = self._temporary = Path(tempfile.mkdtemp(prefix="xray-jax-"))
                    # Threads that still fetch when the run is broken off may put something there after `close`.
                    atexit.register(shutil.rmtree, folder, ignore_errors=True)
                self._cache = Cache(folder, self._options.cache_limit, self._options.room_wait, self._stop)
            return self._cache


def _key(remote: Remote) -> str:
    """Names the copy of this content of this checkpoint."""
    address = remote.address.full if remote.address.has_query else remote.address.shown
    parts = [address, remote.revision or token_hex(16), remote.main, *(file.name for file in remote.files)]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()[:40]

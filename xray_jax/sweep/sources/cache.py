"""A folder of fetched copies of bounded size, shared by threads and processes.

Each copy is a folder, locked by the kernel as long as somebody uses it (shared) or fetches it (alone), so that what
a dead process held is free. Where room is needed, the copy goes that was used longest ago and that nobody holds.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event

from xray_jax.files import atomic_write
from xray_jax.sweep.sources.address import SourceError
from xray_jax.sweep.sources.options import GIB

_POLL = 0.05
_COPY, _COMPLETE, _SIZE, _GONE = "copy", "complete.json", "size", ".gone"


class Held:
    """One copy, which nobody removes until `release`.

    Attributes:
      folder: of the copy's files and what is fetched of it.
      shared: whether it is complete and others may hold it too.
    """

    def __init__(self, folder: Path, descriptor: int, shared: bool) -> None:
        self.folder, self.shared = folder, shared
        self._descriptor = descriptor

    @property
    def copy(self) -> Path:
        """The folder of the files themselves."""
        return self.folder / _COPY

    def part(self, number: int) -> Path:
        """Where file `number` of the copy is fetched to."""
        return self.folder / f"part-{number}"

    def place(self, number: int, name: str) -> None:
        """Makes what was fetched a file of the copy."""
        target = self.copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        self.part(number).replace(target)

    def take_back(self, number: int, name: str) -> None:
        """A file of a copy that was never finished is what has been fetched of it."""
        with contextlib.suppress(FileNotFoundError):
            (self.copy / name).replace(self.part(number))

    def finish(self, files: Mapping[str, str]) -> bool:
        """Says that all files are there, name -> SHA-256, and lets others hold it too. False where one removed it."""
        with atomic_write(self.folder / _COMPLETE) as file:
            file.write(json.dumps(files).encode())
        # The kernel gives up one lock before it takes the other.
        self.shared = _lock(self._descriptor, fcntl.LOCK_SH) and self.is_in_place()
        return self.shared

    def is_in_place(self) -> bool:
        """Whether nobody has removed it."""
        return _same(self.folder, self._descriptor)

    def sound(self) -> bool:
        """Whether the files are those that were fetched, bit by bit."""
        try:
            files = json.loads((self.folder / _COMPLETE).read_bytes())
            return all(_hash(self.copy / name) == digest for name, digest in files.items())
        except (OSError, ValueError, AttributeError):
            return False

    def release(self, remove: bool = False) -> None:
        """Lets go of it; `remove`: nobody will want it again, unless somebody else holds it now."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            if not remove:
                os.utime(self.folder / _SIZE)
            elif _lock(self._descriptor, fcntl.LOCK_EX) and self.is_in_place():
                _remove(self.folder)
        os.close(self._descriptor)
        self._descriptor = -1


class Cache:
    """The folder of all copies."""

    def __init__(self, folder: Path, limit: int, room_wait: float, stop: Event) -> None:
        """Makes the folder.

        Args:
          limit: bytes that all copies may take together.
          room_wait: seconds to wait for room, or for another process that fetches the same.
          stop: set when the run is over.

        Raises:
          SourceError: it cannot be made.
        """
        self.folder, self._limit, self._wait, self._stop = folder, limit, room_wait, stop
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".lock").touch()
            for left in folder.glob(f".*{_GONE}"):
                # By a process that was killed while it removed them.
                shutil.rmtree(left, ignore_errors=True)
        except OSError as error:
            raise SourceError(
                f"--cache={folder}: cannot be written ({error.strerror}); choose another folder"
            ) from error

    def hold(self, key: str) -> Held:
        """The copy of this key: shared where it is complete, alone where it is to be fetched."""
        folder = self.folder / key
        for _ in self._attempts(f"copy {key} is fetched by another process that does not end"):
            folder.mkdir(exist_ok=True)
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            shared = (folder / _COMPLETE).exists()
            # Removed or completed by somebody else between the look and the lock: look again.
            if (
                _lock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
                and _same(folder, descriptor)
                and shared == (folder / _COMPLETE).exists()
            ):
                return Held(folder, descriptor, shared)
            os.close(descriptor)
        raise AssertionError

    def discard(self, held: Held) -> None:
        """Removes a copy that is not what it should be, though others use it, and lets go of it.

        What they have open they can read to the end; what they have not opened yet they must not.
        """
        with self._alone():
            # Of two that find the damage at once, the other has removed it, and may be fetching it anew.
            if held.is_in_place():
                _remove(held.folder)
        held.release()

    def reserve(self, held: Held, size: int) -> None:
        """Makes room for `size` bytes and counts them as this copy's.

        Raises:
          SourceError: others hold too much, for too long.
        """
        for _ in self._attempts(f"no room for {size / GIB:.3g} GiB in the cache: other checkpoints hold it"):
            with self._alone():
                sizes = {each: _size(each) for each in self._copies() if each != held.folder}
                excess = sum(sizes.values()) + size - self._limit
                for each in sorted(sizes, key=_used):
                    if excess <= 0:
                        break
                    excess -= sizes[each] if sizes[each] and _evict(each) else 0
                if excess <= 0:
                    with atomic_write(held.folder / _SIZE) as file:
                        file.write(str(size).encode())
                    return

    def total(self) -> int:
        """Bytes that are reserved or taken."""
        return sum(map(_size, self._copies()))

    def _copies(self) -> list[Path]:
        return [each for each in self.folder.iterdir() if not each.name.startswith(".")]

    def _attempts(self, why: str) -> Iterator[None]:
        deadline = time.monotonic() + self._wait
        while True:
            yield
            if self._stop.wait(_POLL):
                raise SourceError("the run is over")
            if time.monotonic() > deadline:
                raise SourceError(f"{why} after {self._wait:g} s; raise --cache_limit, or give another --cache")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread or process reserves at the same time."""
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(folder), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _evict(folder: Path) -> bool:
    """Removes a copy that nobody holds."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True
    try:
        if not _lock(descriptor, fcntl.LOCK_EX):
            return False
        if _same(folder, descriptor):
            _remove(folder)
        return True
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """At once out of sight, under a name that nobody looks for, then file by file."""
    gone = folder.with_name(f".{folder.name[:16]}.{secrets.token_hex(4)}{_GONE}")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _size(folder: Path) -> int:
    try:
        return int((folder / _SIZE).read_text())
    except (OSError, ValueError):
        return 0


def _used(folder: Path) -> float:
    try:
        return (folder / _SIZE).stat().st_mtime
    except OSError:
        return 0.0


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

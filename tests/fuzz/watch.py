"""What a reader may do with a hostile file, watched from within the process: anything else is a finding.

It may succeed, or raise its declared error, which names the file and is no book; within a bound of processor time, of
memory above what the process had, and without writing, starting or connecting to anything.
"""

import contextlib
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

from tests.fuzz.targets import Target

SECONDS = 5.0
"""Of the processor, an input."""
MEMORY = 384 << 20
"""Bytes above what the process had: what one file may declare beyond its size, twice, and the objects of a pickle."""
ADDRESSES = 2 << 30
"""Bytes of address space above what the process had."""
LONGEST_MESSAGE = 10_000

_MISTAKES = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NameError, RecursionError, StopIteration,
    TypeError,
)  # fmt: skip
"""What a reader's own lines raise when they did not foresee a file; a ValueError speaks of the data."""
_CATCH_ALL = frozenset({("formats.py", "read"), ("formats.py", "format_of"), ("contents.py", "__array__")})
"""Where whatever a library raises becomes the declared error."""
_FORBIDDEN = (
    "os.", "subprocess.", "socket.", "shutil.", "pickle.find_class", "ctypes.dlopen", "webbrowser.",
    "urllib.", "ftplib.", "smtplib.", "code.__new__", "signal.pthread_kill", "tempfile.",
)  # fmt: skip
_HARMLESS = frozenset({"os.listdir", "os.scandir", "socket.__new__"})
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Finding(Exception):
    """Something that must not happen.

    Attributes:
      key: what tells it from others: its kind, and where it is.
    """

    def __init__(self, kind: str, detail: str, where: str = "") -> None:
        super().__init__(f"{kind}: {detail}\n{where}")
        lines = [line for line in where.splitlines() if "xray_jax" in line and line.lstrip().startswith("File")]
        place = lines[-1].split("xray_jax/")[-1] if lines else detail[:80]
        self.key = f"{kind} {place}".replace('"', "")


class SlowError(BaseException):
    """Raised into a reader that takes too long; no reader catches it."""


class Watch:
    """Reads inputs, one at a time, in a folder of its own. Works in the main thread only.

    Attributes:
      folder: where files are written that are then read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.violation: str | None = None
        self._active = False
        sys.addaudithook(self._hook)

    def examine(self, target: Target, data: bytes) -> bool:
        """Whether the reader opened what `data` becomes; False when it refused.

        Raises:
          Finding: it did something else.
        """
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            path = target.place(data, Path(scratch))
            before = set(Path(scratch).rglob("*"))
            opened = self._read(target, path)
            if set(Path(scratch).rglob("*")) != before:
                raise Finding("files", "it wrote beside the checkpoint")
            return opened

    def warm(self, target: Target, inputs: Iterable[bytes]) -> None:
        """Reads inputs whatever comes of it: what is imported, compiled or started once is no input's deed."""
        for data in inputs:
            with contextlib.suppress(Finding):
                self.examine(target, data)

    def _read(self, target: Target, path: Path) -> bool:
        self.violation = None
        start = _reset_peak()
        try:
            with _bounded():
                self._active = True
                try:
                    target.read(path)
                finally:
                    self._active = False
            opened = True
        except target.error as error:
            _check_error(error, path)
            opened = False
        except SlowError as error:
            raise Finding("time", f"more than {SECONDS:g} s", _where(error.__traceback__)) from None
        except Exception as error:
            raise Finding("exception", repr(error)[:500], _where(error.__traceback__)) from error
        if self.violation:
            raise Finding("deed", self.violation)
        if (grown := _peak() - start) > MEMORY:
            raise Finding("memory", f"{grown >> 20} MiB", _largest_frame(path))
        return opened

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active or self.violation:
            return
        if event == "open":
            name, mode, flags = arguments
            writes = bool(flags & _WRITES) if isinstance(flags, int) else bool(set(mode or "") & set("wax+"))
            if writes and isinstance(name, str | bytes) and os.fsdecode(name) != os.devnull:
                self.violation = f"open {name!r} to write"
        elif event.startswith(_FORBIDDEN) and event not in _HARMLESS:
            self.violation = f"{event} {str(arguments)[:200]}"


def _check_error(error: Exception, path: Path) -> None:
    text = str(error)
    if path.name not in text:
        raise Finding("nameless", text[:200], _where(error.__traceback__))
    if len(text) > LONGEST_MESSAGE:
        raise Finding("long message", f"{len(text)} characters", _where(error.__traceback__))
    wrapper: BaseException = error
    while (cause := wrapper.__cause__) is not None:
        if isinstance(cause, MemoryError):
            raise Finding("memory", repr(cause)[:200], _where(cause.__traceback__))
        place, innermost = (_last(each.__traceback__) for each in (wrapper, cause))
        caught = place is not None and (Path(place.f_code.co_filename).name, place.f_code.co_name) in _CATCH_ALL
        ours = innermost is not None and "xray_jax" in innermost.f_code.co_filename
        if caught and isinstance(cause, _MISTAKES) and (ours or isinstance(cause, RecursionError)):
            raise Finding("mistake", repr(cause)[:200], _where(cause.__traceback__))
        wrapper = cause


def _last(trace: TracebackType | None) -> FrameType | None:
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    return frames[-1] if frames else None


def _where(trace: TracebackType | None) -> str:
    return "".join(traceback.format_tb(trace)[-12:])


def _largest_frame(path: Path) -> str:
    return f'  File "xray_jax/{path.suffix or path.name}"'


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    def interrupt(_: int, frame: FrameType | None) -> NoReturn:
        raise SlowError

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ADDRESSES, hard))
    before = signal.signal(signal.SIGPROF, interrupt)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _reset_peak() -> int:
    """Forgets the peak of the resident memory (Linux), and returns what there is now."""
    Path("/proc/self/clear_refs").write_text("5")
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10

"""A worker process, as its supervisor sees it: started, talked to, killed with all it started."""

import contextlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from xray_jax.rows.row import ERROR, Row
from xray_jax.sweep.isolated_worker import LENGTH

NONSENSE = "its process sent what no worker sends"
_LONGEST_MESSAGE = 1 << 26
_READ = 1 << 16
_CREDENTIALS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_", "GOOGLE_APPLICATION_CREDENTIALS", "FSSPEC_")
"""How the names of variables with credentials for hubs and buckets begin."""
_DYING_SECONDS = 10.0
_DEAF_SECONDS = 60.0
"""Without taking a word of what it is told; a process that starts may import for long."""
_OUT_OF_MEMORY = ("MemoryError", "RESOURCE_EXHAUSTED", "bad_alloc", "annot allocate memory", "can't start new thread")


class WorkerDiedError(Exception):
    """The process is gone; or what it says is `NONSENSE`, the message then."""


class WorkerProcess:
    """One process, in a process group of its own, so that Ctrl-C reaches the supervisor alone.

    Attributes:
      ready: whether it has said that it can scan.
      served: checkpoints (or models to train) that it was given.
    """

    def __init__(self, make: bytes, memory: int, environment: Mapping[str, str], program: str) -> None:
        """Starts it.

        Args:
          make: pickled callable that builds the worker.
          memory: limit in bytes, 0 for none.
          environment: variables to set beside the supervisor's.
          program: what it runs, Python that calls `isolated_worker.connect`.
        """
        self.ready, self.served = False, 0
        self._unread = bytearray()
        self._messages, messages = os.pipe()
        life, self._life = os.pipe()
        os.set_blocking(self._messages, False)
        # Whatever the supervisor can import, its workers can; what they print must not get among rows on stdout.
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", program, str(messages), str(life), str(memory)],
                stdin=subprocess.PIPE,
                stdout=2,
                env={**_without_credentials(os.environ), **environment, "PYTHONPATH": paths},
                pass_fds=(messages, life),
                start_new_session=True,
            )
        finally:
            os.close(messages)
            os.close(life)
        with contextlib.suppress(WorkerDiedError):
            # Found out when it is listened to.
            self._send(make)

    def fileno(self) -> int:
        """Readable when there are messages, or when it is gone."""
        return self._messages

    def request(self, value: Any) -> None:
        """Gives it a checkpoint, or a model to train.

        Raises:
          WorkerDiedError: it is gone.
        """
        self.served += 1
        self._send(pickle.dumps(value))

    def acknowledge(self) -> None:
        """Lets it go on: its attempt is in the journal.

        Raises:
          WorkerDiedError: it is gone.
        """
        self._send(b"")

    def _send(self, frame: bytes) -> None:
        """Sends all of it; one that does not listen is killed, because it must not keep its supervisor waiting."""
        assert self._process.stdin is not None
        pipe, left = self._process.stdin.fileno(), memoryview(LENGTH.pack(len(frame)) + frame)
        room = select.poll()
        room.register(pipe, select.POLLOUT)
        try:
            while left:
                if not room.poll(1000 * _DEAF_SECONDS):
                    self._kill()
                    raise WorkerDiedError
                # No more than there is room for at once: a pipe takes so much whole, or waits.
                left = left[os.write(pipe, left[: select.PIPE_BUF]) :]
        except OSError as error:
            raise WorkerDiedError from error

    def messages(self) -> Iterator[dict[str, Any]]:
        """What it has said, without waiting for more; of much that it has said a part, and the next call goes on.

        A process that never stops talking must not keep its supervisor from the time limits and from the others.

        Raises:
          WorkerDiedError: it is gone, or what it says is no message.
        """
        try:
            data = os.read(self._messages, _READ)
        except BlockingIOError:
            return
        if not data:
            raise WorkerDiedError
        if len(self._unread) > _LONGEST_MESSAGE:
            raise WorkerDiedError(NONSENSE)
        self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            try:
                yield dict(json.loads(line))
            except (ValueError, TypeError, RecursionError) as error:
                raise WorkerDiedError(NONSENSE) from error

    def end(self) -> int:
        """Kills it and what it started, and returns its exit status: that of its own death, where it was dead."""
        self._kill()
        os.close(self._messages)
        os.close(self._life)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_DYING_SECONDS)
        # The kernel holds on to it, on a file system that does not answer for one.
        return -signal.SIGKILL

    def _kill(self) -> None:
        # Before its id is free again: until it is waited for, the group is its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def program(online: bool) -> str:
    """What a process runs that scans; `online`: it keeps the network."""
    return f"from xray_jax.sweep.isolated_worker import main; main(online={online})"


def _without_credentials(variables: Mapping[str, str]) -> dict[str, str]:
    """What the supervisor fetches checkpoints with, a process that opens them has no use for."""
    return {name: value for name, value in variables.items() if not name.startswith(_CREDENTIALS)}


def how_it_ended(status: int, limited: bool) -> str:
    """An exit status in words; `limited`: whether memory was."""
    if status >= 0:
        return f"its process ended with status {status}"
    number = -status
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    # A kernel without memory kills; a native library that is refused memory mostly aborts.
    memory = number == signal.SIGKILL or (limited and number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS))
    return f"killed by signal {number} ({name}{'; out of memory?' if memory else ''})"


def out_of_memory(row: Row) -> bool:
    """Whether a checkpoint's error is that memory ran out."""
    return row["status"] == ERROR and any(words in str(row["reason"]) for words in _OUT_OF_MEMORY)

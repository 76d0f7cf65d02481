"""A worker process of an isolated run, from the inside: one checkpoint at a time until its input ends.

The supervisor's frames come on stdin: how to make the worker, then one `Request` a checkpoint, and an empty frame for
each attempt that is in the journal. What goes back is one line of JSON a message, on a pipe of its own: of a process
that a checkpoint may have taken over, the supervisor unpickles nothing.
"""

import json
import os
import pickle
import queue
import select
import signal
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from xray_jax.rows.file import encode, identity
from xray_jax.rows.row import EarlierRow, Row
from xray_jax.sweep.batch_scan import OnStage
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.sweep.no_network import cut_off

LENGTH = struct.Struct(">Q")
"""What stands before each frame."""


class Worker(Protocol):
    """What a process keeps from checkpoint to checkpoint: samples, planes, compiled programs."""

    def rows(
        self, entries: Sequence[Entry], done: Mapping[tuple[Any, ...], EarlierRow], on_stage: OnStage
    ) -> Iterable[Row]:
        """New rows of these entries; rows that are in `done` already are left out."""
        ...


@dataclass(frozen=True)
class Request:
    """One checkpoint to scan.

    Attributes:
      entry: which.
      done: its rows of earlier runs, by `rows.file.identity`.
      refused: identity -> why this content is an error row without being opened; under None, why the file is not even
        to be hashed.
    """

    entry: Entry
    done: Mapping[tuple[Any, ...], EarlierRow]
    refused: Mapping[tuple[Any, ...] | None, str]


class RefusedError(ValueError):
    """The checkpoint has ended too many processes to be opened again."""


class Supervisor:
    """The process at the other end. When it is gone, so is this one."""

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._sending = threading.Lock()
        self._input = os.fdopen(os.dup(0), "rb")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        self._frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._acknowledged: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            head = self._input.read(LENGTH.size)
            if len(head) < LENGTH.size:
                os.killpg(0, signal.SIGKILL)
            frame = self._input.read(LENGTH.unpack(head)[0])
            (self._frames if frame else self._acknowledged).put(frame)

    def receive(self) -> Any:
        """The next thing that was sent."""
        return pickle.loads(self._frames.get())

    def send(self, message: str) -> None:
        """Sends one line of JSON."""
        data = memoryview(message.encode() + b"\n")
        with self._sending:
            while data:
                data = data[os.write(self._messages, data) :]

    def hook(self, refused: Mapping[tuple[Any, ...] | None, str]) -> OnStage:
        """Tells the supervisor of stages; waits until the attempt is in its journal before anything is opened."""

        def on_stage(stage: str, row: Row) -> None:
            key = None if stage == "hash" else identity(row)
            if key in refused:
                raise RefusedError(refused[key])
            self.send(json.dumps({"stage": stage, "identity": key}))
            if stage == "load":
                self._acknowledged.get()

        return on_stage


def connect() -> Supervisor:
    """The supervisor, from the program's arguments: file descriptors of messages and life, memory in bytes."""
    messages, life, memory = map(int, sys.argv[1:4])
    for descriptor in (messages, life):
        os.set_inheritable(descriptor, False)
    _limit(memory)
    _live_until_closed(life)
    return Supervisor(messages)


def main(online: bool = False) -> None:
    """The program of a worker process; `online`: it keeps the network."""
    supervisor = connect()
    # Before it parses anything, samples included.
    reason = "it was asked for" if online else cut_off()
    try:
        make: Callable[[], Worker] = supervisor.receive()
        worker = make()
    except ValueError as error:
        supervisor.send(json.dumps({"unusable": str(error)}))
        return
    network = "cut off from the network" if reason is None else f"not cut off from the network ({reason})"
    supervisor.send(json.dumps({"ready": True, "network": network}))
    while True:
        request: Request = supervisor.receive()
        rows = worker.rows([request.entry], request.done, supervisor.hook(request.refused))
        supervisor.send(f'{{"rows":[{",".join(map(encode, rows))}]}}')


def _limit(memory: int) -> None:
    """No core dumps, and the kernel refuses memory beyond the limit (0: none).

    RLIMIT_DATA counts what can be written to; RLIMIT_AS would count what XLA and drivers only reserve (1.3 GiB on a
    CPU, where 0.2 GiB are used; far more on a GPU).
    """
    import resource  # of Unix only

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _live_until_closed(life: int) -> None:
    """The kernel ends this process and those that it starts when the other end of the pipe `life` is closed.

    The supervisor closes it by whatever way it ends. The thread that reads from it ends them too, where native code
    lets it run.
    """
    if sys.platform == "linux":
        import fcntl  # of Unix only

        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:
        sys.exit(1)

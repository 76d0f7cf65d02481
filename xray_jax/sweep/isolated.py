"""The isolated backend: worker processes scan, one checkpoint at a time; this process supervises and opens none.

What lies elsewhere this process fetches, ahead of the scans: the processes that parse need neither network nor
credentials, and have none of the variables that hold them.

A checkpoint that ends its worker, or takes longer than it may, is tried once more, alone in a fresh worker, and then is
an error row. Rows come as they are ready, so that a run that is killed loses none: with one worker in the order of the
list, but for what is fetched.

Why not a library's pool: `pebble.ProcessPool` (5.2.3) has time limits and reports deaths, but all its workers share one
pair of pipes under one lock, which a worker killed in the middle of a large row leaves torn and locked; results are
unpickled in the supervisor; a worker tells nothing before its result, so neither stage nor journal; and one that cannot
start is started for ever. `concurrent.futures` and `multiprocessing.Pool` break, or wait for ever, when a worker dies.
"""

import contextlib
import functools
import os
import pickle
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any

from xray_jax.rows.file import identity
from xray_jax.rows.row import EarlierRow, Row, by_id
from xray_jax.rows.schema import is_row
from xray_jax.sweep.attempts import Attempts, Identity, as_identity
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.sweep.fetching import Ahead, Fetched, Fetching, nothing
from xray_jax.sweep.isolated_worker import Request, Worker
from xray_jax.sweep.worker_process import NONSENSE, WorkerDiedError, WorkerProcess, how_it_ended, out_of_memory, program

ATTEMPTS = 2
"""At one checkpoint, over all runs, before it is an error row."""
GIB = 1 << 30
_MOST_BYTES = 1 << 63
_SPENT = f"{ATTEMPTS} attempts ended without a row: the process was killed, or the machine stopped"
_START_SECONDS = 600.0
_STARTS = 3
_LONGEST_WAIT = 60.0
_LONGEST_STAGE = 200
_AHEAD = 3


class IsolationError(OSError):
    """No worker process can be kept alive; the message says how it ends and what to do."""


@dataclass(frozen=True)
class IsolationOptions:
    """How worker processes are supervised.

    Attributes:
      workers: how many; they share the CPUs.
      timeout: seconds a checkpoint may take, from its first byte to its row.
      memory: GiB that a worker may write to, what it keeps from checkpoint to checkpoint included; enforced by the
        kernel (Linux: RLIMIT_DATA; memory of a GPU is not counted). None for no limit.
      worker_network: whether workers keep the network: for readers and detectors of other packages that ask a service.
    """

    workers: int = 1
    timeout: float = 3600.0
    memory: float | None = None
    worker_network: bool = False

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"--workers must be at least 1, got {self.workers}")
        if not self.timeout > 0:
            raise ValueError(f"--timeout must be more than 0 seconds, got {self.timeout}")
        # In whole bytes, of which 0 would be no limit, and no more than a limit can say.
        if self.memory is not None and not 1 <= self.memory * GIB < _MOST_BYTES:
            raise ValueError(f"--memory must be more than 0 GiB and finite, got {self.memory}")


def scatter(
    make: Callable[[], Worker],
    entries: Sequence[Entry],
    done: Mapping[tuple[Any, ...], EarlierRow],
    options: IsolationOptions,
    journal: Path | None = None,
    fetching: Fetching | None = None,
) -> Iterator[Row]:
    """Scans entries in worker processes and yields new rows as they come. When it is closed, no process is left.

    Args:
      make: builds the worker; called once in every process, so it must be picklable and cheap to send.
      journal: file of the attempts, see `Attempts`; None keeps none.
      fetching: fetches what lies elsewhere; None where nothing does.

    Raises:
      IsolationError: processes do not start, or end without touching a checkpoint.
      ValueError: `make` raised it.
    """
    with contextlib.closing(Attempts(journal, done)) as attempts:
        supervisor = _Supervisor(
            make, Ahead(entries, fetching, options.workers + _AHEAD), fetching, done, options, attempts
        )
        with contextlib.closing(supervisor):
            yield from supervisor.run()


@dataclass
class _Task:
    """One checkpoint on its way to a row.

    Attributes:
      deaths: attempts of this run that ended with their process.
      identity: of the content that is being tried; None before it is hashed.
      refused: see `Request`; empty until it has no attempt left.
      release: see `Fetched`.
    """

    entry: Entry
    release: Callable[[], None] = nothing
    deaths: int = 0
    identity: Identity | None = None
    refused: dict[Identity | None, str] = field(default_factory=dict)


@dataclass
class _Slot:
    """The place of one worker process.

    Attributes:
      process: None until there is work, and after a death.
      task: what it works on, or waits to start for.
      deadline: when that must be over, on the monotonic clock.
      stage: of the task, as far as the process has said.
      starts: processes in a row that ended before they were ready.
    """

    process: WorkerProcess | None = None
    task: _Task | None = None
    deadline: float = 0.0
    stage: str | None = None
    starts: int = 0


class _Supervisor:
    def __init__(
        self,
        make: Callable[[], Worker],
        waiting: Ahead,
        fetching: Fetching | None,
        done: Mapping[tuple[Any, ...], EarlierRow],
        options: IsolationOptions,
        attempts: Attempts,
    ) -> None:
        self._options, self._attempts, self._waiting, self._fetching = options, attempts, waiting, fetching
        memory = 0 if options.memory is None else int(options.memory * GIB)
        told = pickle.dumps(make), memory, shares(options.workers), program(options.worker_network)
        self._start = functools.partial(WorkerProcess, *told)
        self._tell = functools.cache(lambda network: print(f"worker processes: {network}", file=sys.stderr))
        self._again: deque[_Task] = deque()
        self._slots = [_Slot() for _ in range(min(options.workers, len(waiting)))]
        self._done = by_id(done)

    def run(self) -> Iterator[Row]:
        while True:
            yield from self._hand_out()
            busy = [(slot, slot.process) for slot in self._slots if slot.process is not None and slot.task is not None]
            if not busy and not self._waiting:
                return
            wait = min([_LONGEST_WAIT, *(slot.deadline - time.monotonic() for slot, _ in busy)])
            # What is ready to be scanned is of no interest, and says so for as long, where nobody is idle.
            fetched = [self._waiting.fileno()] if len(busy) < len(self._slots) else []
            ready = connection.wait([*fetched, *(each.fileno() for _, each in busy)], max(wait, 0))
            heard = [process for _, process in busy if process.fileno() in ready]
            for slot, process in busy:
                if process in heard:
                    yield from self._listen(slot, process)
                if slot.task is not None and time.monotonic() >= slot.deadline:
                    yield from self._ended(slot, f"timed out after {self._options.timeout:g} s")

    def close(self) -> None:
        """Kills what still runs; what that breaks off was no attempt."""
        self._waiting.close()
        for slot in self._slots:
            self._end(slot)
            if slot.task is not None and slot.task.identity is not None:
                self._attempts.take_back(slot.task.identity)

    def _hand_out(self) -> Iterator[Row]:
        """Gives idle processes something to do; what cannot be fetched is a row at once."""
        for slot in self._slots:
            if slot.task is not None:
                continue
            alone = not any(other.task for other in self._slots)
            if not (self._again and alone and len(self._slots) == 1):
                for fetched in iter(self._waiting.take, None):
                    if fetched.reason is None and not fetched.has_row:
                        self._assign(slot, _Task(fetched.entry, fetched.release))
                        break
                    yield from self._without_process(fetched)
            if slot.task is None and self._again and alone:
                # In a process that no other checkpoint has left anything in; and before what is still being fetched,
                # which may wait for the room of this one's copy.
                if slot.process is not None and slot.process.served:
                    self._end(slot)
                self._assign(slot, self._again.popleft())
                return

    def _without_process(self, fetched: Fetched) -> Iterator[Row]:
        if fetched.reason is not None and self._fetching is not None:
            yield from self._fetching.new_rows(fetched)

    def _assign(self, slot: _Slot, task: _Task) -> None:
        slot.task, slot.stage, task.identity = task, None, None
        if slot.process is None:
            slot.process = self._start()
            slot.deadline = time.monotonic() + _START_SECONDS
        elif slot.process.ready:
            self._request(slot, slot.process, task)

    def _request(self, slot: _Slot, process: WorkerProcess, task: _Task) -> None:
        spent: dict[Identity | None, str] = {}
        spent |= {key: _SPENT for key, count in self._attempts.of(task.entry.id).items() if count >= ATTEMPTS}
        slot.deadline = time.monotonic() + self._options.timeout
        # One that has died since is found out when it is listened to.
        with contextlib.suppress(WorkerDiedError):
            process.request(
                Request(task.entry.without_secrets, self._done.get(task.entry.id, {}), spent | task.refused)
            )

    def _listen(self, slot: _Slot, process: WorkerProcess) -> Iterator[Row]:
        try:
            for message in process.messages():
                yield from self._heard(slot, process, message)
                if slot.process is not process:
                    return
        except WorkerDiedError as error:
            yield from self._ended(slot, str(error) or None)

    def _heard(self, slot: _Slot, process: WorkerProcess, message: Mapping[str, Any]) -> Iterator[Row]:
        """What follows from one message: rows, where it brings some.

        Raises:
          WorkerDiedError: no worker says this.
        """
        task = slot.task
        match message:
            case {"unusable": str(reason)} if not process.ready:
                raise ValueError(reason)
            case {"ready": True, "network": str(network)} if not process.ready and task is not None:
                process.ready, slot.starts = True, 0
                self._tell(network)
                self._request(slot, process, task)
            case {"stage": str(stage), "identity": value} if task is not None:
                slot.stage = stage[:_LONGEST_STAGE]
                key = as_identity(value)
                if stage == "load" and task.identity is None and key is not None and key[0] == task.entry.id:
                    self._attempts.begin(key)
                    task.identity = key
                    process.acknowledge()
            case {"rows": list(rows)} if (
                task is not None and len(rows) < 2 and all(self._is_of(task.entry, row) for row in rows)
            ):
                yield from self._finished(slot, process, task, rows)
            case _:
                raise WorkerDiedError(NONSENSE)

    def _is_of(self, entry: Entry, row: Any) -> bool:
        """Whether what a process calls a row can be this entry's: a checkpoint may have taken the process over."""
        key = as_identity(list(identity(row))) if is_row(row) else None
        due = None if self._fetching is None else self._fetching.key(entry)
        return key is not None and None not in key[2:] and key[0] == entry.id and due in (None, (entry.id, *key[2:]))

    def _finished(self, slot: _Slot, process: WorkerProcess, task: _Task, rows: list[Row]) -> Iterator[Row]:
        if process.served > 1 and not task.deaths and any(map(out_of_memory, rows)):
            # Perhaps for what earlier checkpoints left there: its row must not depend on them.
            self._retry(slot, task)
            return
        yield from rows
        # Of what was refused, only the row says which content it is of.
        for key in [*map(identity, rows), *filter(None, [task.identity])]:
            self._attempts.finish(key)
        task.release()
        slot.task = None

    def _ended(self, slot: _Slot, why: str | None = None) -> Iterator[Row]:
        """The process is dead, or must die because of `why`; its checkpoint is tried again or is to be an error row.

        That is a process's row, which knows the content; where none can make it, this one's.
        """
        process, task = slot.process, slot.task
        assert process is not None
        assert task is not None
        reason = how_it_ended(self._end(slot), self._options.memory is not None)
        if not process.ready:
            self._start_again(slot, task, reason)
            return
        reason = (why or reason) + (f", in {slot.stage}" if slot.stage else "")
        if None in task.refused:
            if self._fetching is None:
                raise IsolationError(f"worker processes end without being given a checkpoint: {reason}")
            yield from self._without_process(Fetched(task.entry, reason=reason))
            task.release()
            slot.task = None
            return
        deaths = task.deaths + 1 if task.identity is None else self._attempts[task.identity]
        if task.refused or deaths >= ATTEMPTS:
            # Not even to be hashed, where that is what ended it.
            task.refused = {None if task.refused else task.identity: reason}
            self._assign(slot, task)
        else:
            self._retry(slot, task)

    def _start_again(self, slot: _Slot, task: _Task, reason: str) -> None:
        slot.starts += 1
        if slot.starts >= _STARTS:
            more = "" if self._options.memory is None else f", or --memory={self._options.memory:g} is too little"
            raise IsolationError(f"worker processes do not start ({reason}): see what they print above{more}")
        self._assign(slot, task)

    def _retry(self, slot: _Slot, task: _Task) -> None:
        self._end(slot)
        slot.task = None
        task.deaths += 1
        self._again.append(task)

    def _end(self, slot: _Slot) -> int:
        """Kills the slot's process and returns how it ended."""
        process, slot.process = slot.process, None
        return 0 if process is None else process.end()


def shares(workers: int) -> dict[str, str]:
    """Variables that give each of several processes its share of the CPUs, and of a GPU's memory."""
    if workers == 1:
        return {}
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    # XLA's CPU client sizes its thread pool by NPROC; its GPU client takes a fixed part of the memory at its start.
    given = {"NPROC": str(max(1, cpus // workers)), "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.75 / workers:.3f}"}
    return {name: os.environ.get(name, share) for name, share in given.items()}

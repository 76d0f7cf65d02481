"""A zoo by several processes, each on its own CPUs: a small network gains nothing from a second core, a zoo does."""

import contextlib
import os
import pickle
from collections.abc import Iterable
from dataclasses import replace
from multiprocessing import connection
from typing import NamedTuple

from xray_jax.lab import plan_check, worker, zoo
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.train_model import Record, Report
from xray_jax.lab.worker import Place
from xray_jax.sweep.isolated import shares
from xray_jax.sweep.signals import exit_on_signals
from xray_jax.sweep.worker_process import WorkerDiedError, WorkerProcess, how_it_ended


class Outcome(NamedTuple):
    """What became of a plan.

    Attributes:
      records: all of the zoo.
      lost: ids of models without a record, because their training raised an error or its process died.
    """

    records: list[Record]
    lost: list[str]


def train_zoo(planned: Iterable[ModelSpec], place: Place, count: int, report: Report = lambda line: None) -> Outcome:
    """As `zoo.train_zoo`, in `count` processes: each takes the next model of the plan when it is done with one.

    One seed gives the same model as in one process with as many CPUs. A process that dies costs its model: the plan
    goes on in a new one, and the same call again goes on after that model's last whole epoch. When this process is
    ended, by whatever way, so are the others.

    Args:
      planned: best first.
      place: where; its `cpus` are those of all processes together, empty for all that this process may use.
      count: of processes, at least 1.
      report: takes lines of progress, of all of them.

    Raises:
      ValueError: one of the models cannot be what its spec says; before the first is trained.
    """
    planned = list(planned)
    plan_check.check_known(planned, zoo.settings_of(place.folder, planned))
    known = {record["id"] for record in zoo.settle(place.folder)}
    waiting = [spec for spec in planned if spec.id not in known]
    parts = cpu_shares(place.cpus or _cpus(), min(count, len(waiting)))
    lost: list[str] = []
    slots = [_Slot(replace(place, cpus=cpus), len(parts)) for cpus in parts]
    try:
        with exit_on_signals():
            while True:
                for slot in slots:
                    if slot.spec is None and waiting:
                        slot.give(waiting.pop(0))
                busy = {slot.process.fileno(): slot for slot in slots if slot.process and slot.spec}
                if not busy:
                    break
                for ready in connection.wait(list(busy)):
                    assert isinstance(ready, int)
                    lost += busy[ready].listen(report)
    finally:
        for slot in slots:
            slot.end()
    return Outcome(zoo.judged(zoo.read_records(place.folder)), lost)


def cpu_shares(cpus: tuple[int, ...], count: int) -> list[tuple[int, ...]]:
    """CPUs for each of `count` processes, as even as can be; shared where there are fewer; empty where none are."""
    if not cpus:
        return [()] * count
    if len(cpus) < count:
        return [(cpus[number % len(cpus)],) for number in range(count)]
    return [cpus[number * len(cpus) // count : (number + 1) * len(cpus) // count] for number in range(count)]


def _cpus() -> tuple[int, ...]:
    """That this process may use; empty where the platform does not pin processes."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


class _Slot:
    """The place of one process, started when there is work.

    Attributes:
      process: None until then, and after a death.
      spec: what it trains.
    """

    def __init__(self, place: Place, count: int) -> None:
        self._place, self._count = place, count
        self.process: WorkerProcess | None = None
        self.spec: ModelSpec | None = None

    def give(self, spec: ModelSpec) -> None:
        """Has the process train `spec`."""
        if self.process is None:
            self.process = WorkerProcess(pickle.dumps(self._place), 0, shares(self._count), worker.PROGRAM)
        self.spec = spec
        # One that has died since is found out when it is listened to.
        with contextlib.suppress(WorkerDiedError):
            self.process.request(spec)

    def listen(self, report: Report) -> list[str]:
        """Reports what the process has said; the id of the model that was lost, if one was."""
        assert self.process is not None
        assert self.spec is not None
        error = None
        try:
            for message in self.process.messages():
                match message:
                    case {"line": str(line)}:
                        report(line)
                    case {"error": found}:
                        error, done = found, self.spec.id
                        break
            else:
                return []
        except WorkerDiedError:
            done, error = self.spec.id, how_it_ended(self.end(), limited=False)
        self.spec = None
        if error is None:
            return []
        report(f"{done}: LOST: {error}")
        return [done]

    def end(self) -> int:
        """Ends the process, if there is one, and says how it ended."""
        process, self.process = self.process, None
        return 0 if process is None else process.end()

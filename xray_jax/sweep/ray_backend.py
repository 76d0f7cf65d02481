"""The Ray backend (extra `ray`): long-lived actors pull chunks of a sweep; what a dead actor held is done elsewhere.

Every actor sees the same files: checkpoints and samples lie on storage that all nodes mount. Rows come back to the
driver, which alone writes the row file.
"""

import contextlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from xray_jax.rows.row import EarlierRow, Row
from xray_jax.sweep.checkpoint_list import Entry

Done = Mapping[tuple[Any, ...], EarlierRow]


class Worker(Protocol):
    """What an actor keeps between chunks: samples, planes, compiled programs."""

    def rows(self, entries: Sequence[Entry], done: Done) -> Iterable[Row]:
        """New rows of these entries; rows that are in `done` already are left out."""
        ...

    def failed(self, entry: Entry, reason: str) -> Row:
        """The row of an entry that could not be scanned."""
        ...


@dataclass(frozen=True)
class RayOptions:
    """How a sweep is spread over a cluster.

    Attributes:
      address: of a running cluster; None starts one on this machine unless RAY_ADDRESS names one.
      actors: how many; None is one per GPU of the cluster, or per `cpus` CPUs where there is none.
      cpus: CPUs of an actor without a GPU; its XLA threads too.
      chunk: entries that an actor takes at once. Small chunks lose little with an actor.
      attempts: actors that an entry may lose before it gets an error row.
    """

    address: str | None = None
    actors: int | None = None
    cpus: int = 4
    chunk: int = 4
    attempts: int = 3

    def __post_init__(self) -> None:
        for name in ("cpus", "chunk", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"ray: {name} must be at least 1, got {getattr(self, name)}")
        if self.actors is not None and self.actors < 1:
            raise ValueError(f"ray: actors must be at least 1, got {self.actors}")


def import_ray() -> Any:
    """The `ray` module.

    Raises:
      ValueError: not installed; names the extra.
    """
    try:
        import ray
    except ImportError as error:
        raise ValueError(f"--backend=ray needs Ray: pip install 'xray-jax[ray]' ({error})") from error
    return ray


def scatter(make: Callable[[], Worker], entries: Sequence[Entry], done: Done, settings: RayOptions) -> Iterator[Row]:
    """Scans entries on a Ray cluster and yields rows as they come, in no particular order.

    Args:
      make: builds the worker; called once in every actor, so it must be picklable and cheap to send.
    """
    ray = import_ray()
    if not ray.is_initialized():
        ray.init(settings.address, log_to_driver=False, include_dashboard=False)
    waiting = deque(entries[start : start + settings.chunk] for start in range(0, len(entries), settings.chunk))
    deaths: Counter[str] = Counter()
    spawn = _spawner(ray, make, settings)
    idle: deque[Any] = deque(spawn() for _ in range(min(_actors(ray, settings), len(waiting))))
    running: dict[Any, tuple[Any, Sequence[Entry]]] = {}
    try:
        while waiting or running:
            while waiting and idle:
                actor, chunk = idle.popleft(), waiting.popleft()
                running[_submit(actor, chunk, done, deaths, settings)] = actor, chunk
            while idle:
                # Nothing is left for it. Its place is for an actor that has none since a node has gone, and would wait
                # for ever with what it was given.
                ray.kill(idle.popleft())
            (ready, *_), _ = ray.wait(list(running), num_returns=1)
            actor, chunk = running.pop(ready)
            try:
                yield from ray.get(ready)
                idle.append(actor)
            except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError):
                # One by one from now on, so that a checkpoint that kills its actor takes no other with it.
                deaths.update(entry.id for entry in chunk)
                waiting.extendleft([entry] for entry in reversed(chunk))
                idle.append(spawn())
    finally:
        for actor in [*idle, *(actor for actor, _ in running.values())]:
            ray.kill(actor)


def _submit(actor: Any, chunk: Sequence[Entry], done: Done, deaths: Counter[str], settings: RayOptions) -> Any:
    if len(chunk) == 1 and deaths[chunk[0].id] >= settings.attempts:
        return actor.failed.remote(chunk[0], f"its process died {settings.attempts} times (out of memory?)")
    names = {entry.id for entry in chunk}
    return actor.rows.remote(chunk, {key: row for key, row in done.items() if row["id"] in names})


def _actors(ray: Any, settings: RayOptions) -> int:
    if settings.actors is not None:
        return settings.actors
    resources = ray.cluster_resources()
    return int(resources.get("GPU", 0)) or max(1, int(resources.get("CPU", 1)) // settings.cpus)


def _spawner(ray: Any, make: Callable[[], Worker], settings: RayOptions) -> Callable[[], Any]:
    resources = ray.cluster_resources()
    cpus = min(settings.cpus, max(1, int(resources.get("CPU", 1))))
    # XLA's CPU client sizes its thread pool by NPROC, where it is set, and by the whole machine otherwise.
    gpu = {"num_gpus": 1, "num_cpus": 1}
    cpu = {"num_cpus": cpus, "runtime_env": {"env_vars": {"NPROC": str(cpus)}}}
    options = gpu if resources.get("GPU") else cpu
    return lambda: ray.remote(_Actor).options(**options).remote(make, os.getcwd())


class _Actor:
    def __init__(self, make: Callable[[], Worker], folder: str) -> None:
        # Relative paths are the driver's. A node without its folder can have been meant for absolute ones alone.
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._worker = make()

    def rows(self, entries: Sequence[Entry], done: Done) -> list[Row]:
        return list(self._worker.rows(entries, done))

    def failed(self, entry: Entry, reason: str) -> list[Row]:
        return [self._worker.failed(entry, reason)]

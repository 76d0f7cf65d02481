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

from xray_jax.rows.row import EarlierRow, Row, by_id
from xray_jax.sweep.checkpoint_list import Entry

Done = Mapping[tuple[Any, ...], EarlierRow]
_STARTS = 3
"""Actors in a row that may end in one place before they are ready."""


class ActorStartError(OSError):
    """No actor can be kept alive until it is given something; the message says how the last one ended."""


class Worker(Protocol):
    """What an actor keeps between chunks: samples, planes, compiled programs."""

    def rows(self, entries: Sequence[Entry], done: Done) -> Iterable[Row]:
        """New rows of these entries; rows that are in `done` already are left out."""
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


def scatter(
    make: Callable[[], Worker],
    failed: Callable[[Entry, str], Row],
    entries: Sequence[Entry],
    done: Done,
    settings: RayOptions,
) -> Iterator[Row]:
    """Scans entries on a Ray cluster and yields rows as they come, in no particular order.

    Args:
      make: builds the worker; called once in every actor, so it must be picklable and cheap to send.
      failed: the row of an entry that could not be scanned, for a reason; called here.

    Raises:
      ActorStartError: no actor can be kept alive until it is given something.
    """
    ray = import_ray()
    if not ray.is_initialized():
        ray.init(settings.address, log_to_driver=False, include_dashboard=False)
    waiting = deque(entries[start : start + settings.chunk] for start in range(0, len(entries), settings.chunk))
    known = by_id(done)
    deaths: Counter[str] = Counter()
    died = f"its process died {settings.attempts} times (out of memory?)"
    place = _places(ray, make, settings)
    starting = {at.started: at for at in (place(1) for _ in range(min(_actors(ray, settings), len(waiting))))}
    idle: deque[_Place] = deque()
    running: dict[Any, tuple[_Place, Sequence[Entry]]] = {}
    lost = _lost(ray)
    try:
        while waiting or running:
            while waiting and idle:
                # Only to who is there: an actor in the place of one whose node has gone may never get one.
                at, chunk = idle.popleft(), waiting.popleft()
                running[_submit(at.actor, chunk, known)] = at, chunk
            (ready, *_), _ = ray.wait([*running, *starting], num_returns=1)
            if ready in starting:
                at = starting.pop(ready)
                try:
                    ray.get(ready)
                    idle.append(at)
                except lost as error:
                    if at.starts < _STARTS:
                        again = place(at.starts + 1)
                        starting[again.started] = again
                    elif not (starting or idle or running):
                        text = f"ray: actors do not start, {_STARTS} in a row ended at once: {str(error)[-10_000:]}"
                        raise ActorStartError(text) from error
                continue
            at, chunk = running.pop(ready)
            try:
                rows = ray.get(ready)
                idle.append(at)
            except lost:
                ray.kill(at.actor)
                again = place(1)
                starting[again.started] = again
                deaths.update(entry.id for entry in chunk)
                rows = [failed(entry, died) for entry in chunk if deaths[entry.id] >= settings.attempts]
                # One by one from now on, so that a checkpoint that kills its actor takes no other with it.
                waiting.extendleft([entry] for entry in reversed(chunk) if deaths[entry.id] < settings.attempts)
            yield from rows
    finally:
        for at in [*idle, *starting.values(), *(at for at, _ in running.values())]:
            ray.kill(at.actor)


@dataclass(frozen=True)
class _Place:
    """Where one actor works, after others that ended.

    Attributes:
      started: of Ray, there when the actor can be given something.
      starts: actors in a row, this one included, of which none has been ready.
    """

    actor: Any
    started: Any
    starts: int


def _lost(ray: Any) -> tuple[type[Exception], ...]:
    """What says that an actor is gone, or its rows are: ended by itself, by a monitor of memory, or with its node."""
    errors = ray.exceptions
    return (
        errors.RayActorError, errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError,
        errors.ObjectLostError,
    )  # fmt: skip


def _submit(actor: Any, chunk: Sequence[Entry], done: Mapping[str, Done]) -> Any:
    """Has an actor scan a chunk; `done` are the rows of each checkpoint."""
    return actor.rows.remote(chunk, {key: row for entry in chunk for key, row in done.get(entry.id, {}).items()})


def _actors(ray: Any, settings: RayOptions) -> int:
    if settings.actors is not None:
        return settings.actors
    resources = ray.cluster_resources()
    return int(resources.get("GPU", 0)) or max(1, int(resources.get("CPU", 1)) // settings.cpus)


def _places(ray: Any, make: Callable[[], Worker], settings: RayOptions) -> Callable[[int], _Place]:
    resources = ray.cluster_resources()
    cpus = min(settings.cpus, max(1, int(resources.get("CPU", 1))))
    # XLA's CPU client sizes its thread pool by NPROC, where it is set, and by the whole machine otherwise.
    gpu = {"num_gpus": 1, "num_cpus": 1}
    cpu = {"num_cpus": cpus, "runtime_env": {"env_vars": {"NPROC": str(cpus)}}}
    options = gpu if resources.get("GPU") else cpu

    def place(starts: int) -> _Place:
        actor = ray.remote(_Actor).options(**options).remote(make, os.getcwd())
        return _Place(actor, actor.started.remote(), starts)

    return place


class _Actor:
    def __init__(self, make: Callable[[], Worker], folder: str) -> None:
        # Relative paths are the driver's. A node without its folder can have been meant for absolute ones alone.
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._worker = make()

    def started(self) -> None:
        """Tells the driver that there is a worker."""

    def rows(self, entries: Sequence[Entry], done: Done) -> list[Row]:
        return list(self._worker.rows(entries, done))

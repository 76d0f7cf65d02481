"""A real Ray cluster of this machine, with actors that really die."""

import functools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.rows.rows import error_row, full_row
from tests.schema import check
from tests.sweep.ray_cluster import ray_cluster
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.sweep.ray_backend import ActorStartError, Done, RayOptions, scatter

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'xray-jax[ray]'")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with ray_cluster(cpus=2):
        yield


class Recorder:
    """Leaves a file for every entry it starts; ends in the middle of a chunk where told to.

    The first end is its own, from the second on Ray's memory monitor is what ends it, in Ray's words.
    """

    def __init__(self, folder: Path, deadly: dict[str, int]) -> None:
        self.folder, self.deadly = folder, deadly
        (folder / f"actor-{os.getpid()}").touch()

    def rows(self, entries: Sequence[Entry], done: Done) -> Iterator[Any]:
        for entry in entries:
            if any(row["id"] == entry.id for row in done.values()):
                continue
            tries = len(list(self.folder.glob(f"{entry.id}-*")))
            (self.folder / f"{entry.id}-{tries}").touch()
            if tries < self.deadly.get(entry.id, 0):
                if tries:
                    raise ray.exceptions.OutOfMemoryError("killed by the memory monitor")
                os.kill(os.getpid(), signal.SIGKILL)
            yield full_row(id=entry.id)


class NotMade(Recorder):
    """Cannot be made, the first `times` times."""

    def __init__(self, folder: Path, times: int) -> None:
        super().__init__(folder, {})
        if len(list(folder.glob("actor-*"))) <= times:
            raise RuntimeError("no samples on this node")


def failed(entry: Entry, reason: str) -> Any:
    return error_row(id=entry.id, reason=reason)


def scan(
    folder: Path, names: list[str], done: Any = None, deadly: dict[str, int] | None = None, **options: Any
) -> dict[str, Any]:
    return scan_with(functools.partial(Recorder, folder, deadly or {}), names, done, **options)


def scan_with(make: Callable[[], Recorder], names: list[str], done: Any = None, **options: Any) -> dict[str, Any]:
    entries = [Entry(name, Path(name)) for name in names]
    rows = list(scatter(make, failed, entries, done or {}, RayOptions(**{"cpus": 1, "chunk": 3} | options)))
    assert len({check(row)["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


NAMES = [f"n{i}" for i in range(7)]


def test_what_dead_actors_held_is_done_elsewhere_and_a_deadly_checkpoint_fails_alone(tmp_path: Path) -> None:
    rows = scan(tmp_path, NAMES, deadly={"n1": 99, "n5": 1}, actors=2, attempts=2)
    assert {name for name, row in rows.items() if row["status"] == "ok"} == set(NAMES) - {"n1"}
    assert rows["n1"]["reason"] == "its process died 2 times (out of memory?)"
    assert len(list(tmp_path.glob("n1-*"))) == 2
    # Two at the start, one for each death.
    assert len(list(tmp_path.glob("actor-*"))) <= 5


def test_actors_that_cannot_be_made_end_the_scan_and_no_entry(tmp_path: Path) -> None:
    with pytest.raises(ActorStartError, match="no samples on this node"):
        scan_with(functools.partial(NotMade, tmp_path, 99), NAMES, actors=1, attempts=1)
    assert len(list(tmp_path.glob("actor-*"))) == 3


def test_an_actor_that_is_made_in_the_end_does_all(tmp_path: Path) -> None:
    rows = scan_with(functools.partial(NotMade, tmp_path, 1), NAMES, actors=1, attempts=1)
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert set(rows) == set(NAMES)


def test_an_actor_without_a_place_holds_nothing_up(tmp_path: Path) -> None:
    """One fits into the cluster: the second waits, as one that replaces an actor of a node that is gone."""
    rows = scan(tmp_path, NAMES, actors=2, cpus=2)
    assert set(rows) == set(NAMES)
    assert len(list(tmp_path.glob("actor-*"))) == 1


def test_actors_work_where_the_driver_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(scan(Path(), NAMES[:1])) == {NAMES[0]}
    assert list(tmp_path.glob("actor-*"))


class Counted(dict[Any, Any]):
    """Counts how often it is gone through."""

    times = 0

    def items(self) -> Any:
        self.times += 1
        return super().items()


def test_done_rows_are_left_out_and_gone_through_once_however_many_chunks_there_are(tmp_path: Path) -> None:
    done = Counted({(name, "sha"): full_row(id=name) for name in (NAMES[0], NAMES[4])})
    assert set(scan(tmp_path, NAMES, done, actors=1)) == {*NAMES} - {NAMES[0], NAMES[4]}
    assert done.times == 1


def test_options_check_themselves() -> None:
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        RayOptions(chunk=0)
    with pytest.raises(ValueError, match="actors must be at least 1, got 0"):
        RayOptions(actors=0)

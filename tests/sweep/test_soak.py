"""The parts of the soak that need no process: what it asserts of rows, and what it makes of what it saw."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.rows.rows import error_row, full_row
from tests.sweep import soak_checks, soak_zoo
from tests.sweep.soak_checks import Sample
from xray_jax import checkpoints
from xray_jax.checkpoints import CheckpointError, SeveralNetworksError

EXPECTED = {"a": "good", "b": "good", "h": "hostile", "p": "pill hangs"}


def rows() -> list[Any]:
    bad = [error_row(id="h", reason="refused"), error_row(id="p", reason="timed out after 15 s")]
    return [full_row(id="a"), full_row(id="b"), *bad]


def test_rows_of_a_run_that_went_well_have_no_fault() -> None:
    after = rows()[::-1]
    after[-1] = after[-1] | {"seconds": {"load": 9.0}, "device": "another"}
    after[0] = after[0] | {"reason": "killed by signal 9 (SIGKILL)", "format": None}
    found = soak_checks.compare(EXPECTED, rows(), after)
    assert (found.faults, found.other_reasons) == (0, {"killed by signal 9 (SIGKILL)": 1})


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda rows: rows[1:], ("lost", "a")),
        (lambda rows: [*rows, rows[0]], ("doubled", "a")),
        (lambda rows: [*rows, full_row(id="z")], ("unexpected", "z")),
        (lambda rows: [rows[0] | {"clean_accuracy": 0.111}, *rows[1:]], ("different", "a")),
        (lambda rows: [*rows[:2], full_row(id="h"), rows[3]], ("silently_clean", "h")),
        (lambda rows: [*rows[:3], rows[3] | {"verdict": "clean"}], ("silently_clean", "p")),
        (lambda rows: [*rows[:3], rows[3] | {"reason": "no idea"}], ("different", "p")),
    ],
)
def test_every_fault_is_found(spoil: Any, fault: tuple[str, str]) -> None:
    found = soak_checks.compare(EXPECTED, rows(), spoil(rows()))
    assert found.faults > 0
    assert fault[1] in getattr(found, fault[0])


def test_events_are_seeded_and_within_the_run() -> None:
    moments = soak_checks.events(3, 1000, 30)
    assert moments == soak_checks.events(3, 1000, 30) != soak_checks.events(4, 1000, 30)
    assert Counter(what for _, what in moments) == {"worker": 15, "SIGKILL": 10, "SIGTERM": 5, "disk": 2, "clock": 1}
    assert [row for row, _ in moments] == sorted(row for row, _ in moments)
    assert all(20 <= row < 950 for row, _ in moments)


def test_memory_and_idle_share() -> None:
    looks = [Sample(float(t), 1, True, 100.0 + t, True) for t in range(100)]
    looks += [Sample(float(t), 2, False, 50.0, t % 4 == 0) for t in range(100)]
    looks += [Sample(float(t), 3, False, 900.0, True) for t in range(2)]
    memory = soak_checks.memory(looks)
    assert (memory["supervisor early"], memory["supervisor late"]) == (114.5, 194.5)
    assert (memory["worker early"], memory["worker late"], memory["worker most"]) == (50, 50, 900)
    assert soak_checks.idle_share(looks) == pytest.approx(75 / 102)
    assert soak_checks.idle_share([]) is None


def test_the_checkpoints_are_what_they_are_said_to_be(tmp_path: Path) -> None:
    expected = soak_zoo.write(tmp_path / "zoo", 30, 1, 0)
    files = {path.name for path in (tmp_path / "zoo").iterdir()}
    assert {name for name in expected if "#" not in name} == files
    kinds = Counter(kind for name, kind in expected.items() if "#" not in name)
    assert kinds["hostile"] == 1
    assert sum(kinds.values()) == 30
    for name, kind in expected.items():
        if kind == "hostile":
            with pytest.raises(CheckpointError):
                checkpoints.load(tmp_path / "zoo" / name)
        if kind == "several":
            with pytest.raises(SeveralNetworksError):
                checkpoints.load(tmp_path / "zoo" / name)
    assert not (tmp_path / "canary").exists()
    assert soak_zoo.write(tmp_path / "again", 30, 1, 0) == expected
    for name in (each for each in files if each.endswith(".safetensors")):
        assert (tmp_path / "zoo" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()

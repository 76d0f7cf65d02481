"""Two runs of the bench side by side: what got worse, what cannot be compared, and what is gone."""

import dataclasses
from pathlib import Path

import pytest

from xray_jax import bench
from xray_jax.bench.harness import Figure


def test_two_runs_side_by_side(tmp_path: Path) -> None:
    before = [
        Figure("quick", "clean, probe", 14_000, "queries"),
        Figure("quick", "probe / matrix products", 10.0, "x time", 0.02),
        Figure("quick", "points / matrix products", 10.0, "x time", 0.02),
        Figure("quick", "matrix products", 300.0, "GFLOP/s", 0.02),
        Figure("quick", "gone", 1, "queries"),
    ]
    path = tmp_path / "before.jsonl"
    bench.against.write(str(path), bench.manifest(), before)
    now = [
        dataclasses.replace(before[0], value=14_001),
        dataclasses.replace(before[1], value=11.8),
        dataclasses.replace(before[2], value=12.1),
        dataclasses.replace(before[3], value=30.0),
        Figure("quick", "new", 1, "queries"),
    ]
    changes = bench.against.changes(now, bench.against.read(str(path)))
    # One query more, a ratio beyond 15 % and two spreads; the machine's own speed is nobody's fault.
    assert [each.worse for each in changes] == [True, False, True, False]
    assert "| 10 x time | 12.1 x time | +21 % | **worse** |" in bench.against.table(changes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "not what xray-bench"),
        ('{"case": "quick"}', "not what"),
        ("{}", "holds no figure"),
    ],
)
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "before.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=f"--against=.*before.jsonl: .*{message}"):
        bench.against.read(str(path))

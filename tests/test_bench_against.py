"""Two runs of the bench side by side: what got worse, what cannot be compared, and what is gone."""

import dataclasses
from pathlib import Path

import pytest

from tests import commands
from tests.lab.reproduce.conftest import make_maps
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
    bench.against.write(str(path), bench.manifest(bench.Options()), before)
    now = [
        dataclasses.replace(before[0], value=14_001),
        dataclasses.replace(before[1], value=11.8),
        dataclasses.replace(before[2], value=12.1),
        dataclasses.replace(before[3], value=30.0),
        Figure("quick", "new", 1, "queries"),
    ]
    earlier = bench.against.read(str(path))
    changes = bench.against.changes(now, earlier.figures)
    # One query more, a ratio beyond 15 % and two spreads; the machine's own speed is nobody's fault.
    assert [each.worse for each in changes] == [True, False, True, False]
    assert "| 10 x time | 12.1 x time | +21 % | **worse** |" in bench.against.table(changes)
    assert bench.against.gone(now, earlier.figures) == [before[4]]
    assert "| quick | gone | 1 queries | | | gone |" in bench.against.table(changes, [before[4]])
    assert bench.against.gone([Figure("scan", "new", 1, "s")], earlier.figures) == [], "another case was asked"
    assert bench.against.gone([Figure("quick", "gone", 1, "s")], earlier.figures) == before, "it has another unit"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "not what xray-bench"),
        ('{"case": "quick"}', "not what"),
        ("{}", "holds no figure"),
        ('{"case": "quick", "name": "a", "value": 1, "unit": ""}', "does not say with which options"),
        ('{"options": {"nosuch": 1}}', "not what"),
    ],
)
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "before.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=f"--against=.*before.jsonl: .*{message}"):
        bench.against.read(str(path))


def kept(tmp_path: Path, options: bench.Options) -> tuple[str, bench.against.Run]:
    path = str(tmp_path / "before.jsonl")
    bench.against.write(path, bench.manifest(options), [Figure("quick", "clean, probe", 14_000, "queries")])
    return path, bench.against.read(path)


def test_options_are_kept_and_others_refused(tmp_path: Path) -> None:
    options = bench.Options(planes=2, architectures=("a", "b"))
    path, earlier = kept(tmp_path, options)
    assert earlier.options == options
    bench.against.check(path, ["quick", "zoo"], dataclasses.replace(options, repeats=3), earlier)
    # The quick case has a network of its own.
    bench.against.check(path, ["quick"], dataclasses.replace(options, architectures=("c",)), earlier)
    with pytest.raises(ValueError, match=r"before\.jsonl: --density was 100 and is 9, --planes was 2 and is 3; give"):
        bench.against.check(path, ["quick"], dataclasses.replace(options, planes=3, density=9), earlier)
    with pytest.raises(ValueError, match="holds figures of quick and none of the asked cases"):
        bench.against.check(path, ["zoo", "scan"], options, earlier)


def test_the_command_does_not_end_well_where_nothing_was_compared(tmp_path: Path) -> None:
    """On the case that is asked, the earlier run has only a figure that is measured no more."""
    maps = tmp_path / "maps.npz"
    make_maps(0.5, 1).save(maps)
    before = tmp_path / "before.jsonl"
    options = bench.Options(maps=str(maps))
    bench.against.write(str(before), bench.manifest(options), [Figure("fidelity", "nosuch", 1, "%")])
    told = ["xray-bench", "--case=fidelity", f"--maps={maps}", f"--against={before}"]
    done = commands.finished(*told)
    assert done.returncode == 2, done.stderr
    assert "no figure in common, nothing was compared" in done.stderr
    assert "| fidelity | nosuch | 1 % | | | gone |" in done.stdout
    done = commands.finished(*told[:2], "--maps=others.npz", told[3])
    assert (done.returncode, done.stdout) == (4, "")
    assert f"--maps was {maps} and is others.npz" in done.stderr

"""Rows are never all held: counted by what memory a file of rows takes, and by how many are alive at once."""

import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from tests.rows.rows import error_row, full_row
from xray_jax.report import console, row_source
from xray_jax.report.formats import registry
from xray_jax.rows import file as row_file
from xray_jax.rows.file import RowWriter
from xray_jax.rows.merge import merge
from xray_jax.verdict.summary import summarise

ROWS, SHARDS = 1500, 4
LONG = {"padding": "x" * 12_000}
MOST_A_ROW = 1600
"""Bytes that one more row may cost, a tenth of its line: who it is and where it lies."""
STEADY = 3_000_000
"""Bytes whatever the number of rows: what a batch for Parquet, 100 listed rows or a buffer take."""


def made(number: int) -> dict[str, Any]:
    changes = {"id": f"zoo/model-{number:06d}.pt", "manifest": LONG, "sha256": f"{number:064x}"}
    label = "backdoored" if number % 5 == 0 else "clean"
    return error_row(**changes) if number % 50 == 7 else full_row(**changes, label=label)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shards")
    paths = [folder / f"rows-{shard:05d}-of-{SHARDS:05d}.jsonl" for shard in range(SHARDS)]
    for shard, path in enumerate(paths):
        row_file.write_all(path, (made(number) for number in range(shard, ROWS, SHARDS)))
    return paths


def peak(work: Callable[[], object]) -> int:
    """Most bytes of Python's objects that `work` had at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def size(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


class Alive(dict[str, Any]):
    """A row that knows how many of its kind are alive."""

    now = most = 0

    def __init__(self, row: dict[str, Any]) -> None:
        super().__init__(row)
        Alive.now += 1
        Alive.most = max(Alive.most, Alive.now)

    def __del__(self) -> None:
        Alive.now -= 1


def counted(number: int) -> Iterator[Any]:
    Alive.now = Alive.most = 0
    return map(Alive, map(made, range(number)))


def test_a_merge_and_its_export_hold_little_of_each_row(shards: list[Path], tmp_path: Path) -> None:
    # What libraries take as they are imported is not to be counted.
    summarise(merge(shards).rows)
    registry.get("parquet")

    def work() -> None:
        merged = merge(shards, defect=row_source.defect)
        row_file.write_all(tmp_path / "rows.jsonl", merged.rows)
        registry.write("parquet", merged.rows, tmp_path / "rows.parquet")
        assert summarise(merged.rows).ok == ROWS * 49 // 50

    assert peak(work) < STEADY + ROWS * MOST_A_ROW < size(shards) / 2
    assert list(row_file.read(tmp_path / "rows.jsonl")) == list(map(made, range(ROWS)))
    assert parquet.read_table(tmp_path / "rows.parquet").column("id").to_pylist() == [
        made(n)["id"] for n in range(ROWS)
    ]


def test_going_on_holds_little_of_each_row(shards: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(shard.read_bytes() for shard in shards[1:]))

    def work() -> None:
        with RowWriter(path) as writer:
            for row in row_file.read(shards[0]):
                writer.write(row)
            assert len(writer.done) == ROWS
            keys = [(row["id"], row["settings_hash"], row["version"]) for row in writer.done.values()]
            assert sum(1 for _ in writer.newest(keys)) == ROWS

    assert peak(work) < STEADY + ROWS * MOST_A_ROW < size(shards) / 2


def test_a_summary_holds_no_row_and_the_table_only_those_that_it_may_list() -> None:
    summary = summarise(counted(1000))
    assert (summary.ok, summary.errors, Alive.most) == (980, 20, 2)
    console.print_table(counted(1000), summary, limit=10)
    assert Alive.most <= 3 * 10


@pytest.mark.parametrize("out", ["-", os.devnull])
def test_rows_that_are_not_filed_are_read_again_all_the_same(
    out: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_file, "_IN_MEMORY", 10_000)
    written: list[Any] = list(map(made, range(10)))
    with RowWriter(out) as writer:
        for row in written:
            writer.write(row)
            assert writer.rows[-1] == row
        last = (written[3]["id"], written[3]["settings_hash"], "1")
        assert writer.newest([("none", "", "1"), last, last]) == [written[3]] * 2
        assert writer.rows == written
        assert writer.rows[2:4] == written[2:4]
        assert writer.rows != written[1:]
    assert capsys.readouterr().out.count("\n") == (10 if out == "-" else 0)


def test_the_newest_row_counts_and_order_is_the_askers(tmp_path: Path) -> None:
    first, again, other = (error_row(id=name, reason=reason) for name, reason in (("a", "1"), ("a", "2"), ("b", "3")))
    with RowWriter(tmp_path / "rows.jsonl") as writer:
        for row in (first, again, other):
            writer.write(row)
        assert list(writer.rows) == [first, again, other]
        keys = [(name, first["settings_hash"], "1") for name in "ba"]
        assert list(writer.newest(keys)) == [other, again]


def test_where_there_are_no_locks_others_may_append_to_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_file, "lock", lambda *_: None)
    path = tmp_path / "rows.jsonl"
    with RowWriter(path) as one, RowWriter(path) as other:
        for number in range(6):
            (one if number % 2 else other).write(made(number))
        assert list(one.rows) == [made(number) for number in (1, 3, 5)]
        assert list(other.rows) == [made(number) for number in (0, 2, 4)]


def test_a_file_that_changes_while_it_is_merged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row_file.write_all(path, map(made, range(3)))
    merged = merge([path])
    row_file.write_all(path, map(made, (0, 2, 1)))
    with pytest.raises(row_file.ResultsError, match=r"rows\.jsonl: changed while it was merged"):
        list(merged.rows)
    path.write_text("")
    with pytest.raises(row_file.ResultsError, match=r"rows\.jsonl: what is at byte 0 now is no JSON row"):
        list(merged.rows)

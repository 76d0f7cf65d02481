"""Rows of files: the newest of each checkpoint, checked, and no more of them held than one."""

import pytest

from tests.report import rows
from xray_jax.report import row_source
from xray_jax.report.notebook import Results
from xray_jax.rows import file as row_file
from xray_jax.rows.file import ResultsError


def write(path, *some):
    row_file.write_all(path, some)
    return path


def test_the_last_row_of_a_checkpoint_counts(tmp_path):
    one = write(tmp_path / "1.jsonl", rows.row(id="a", verdict="clean"), rows.error(id="b"))
    two = write(tmp_path / "2.jsonl", rows.row(id="b"), rows.row(id="c"))
    source = row_source.RowSource([one, two])
    for _ in range(2):
        assert [(row["id"], row["status"]) for row in source] == [("a", "ok"), ("b", "ok"), ("c", "ok")]
    assert (len(source), source.superseded) == (3, 1)


def test_a_last_line_that_is_cut_off_is_left_out_and_said(tmp_path):
    one, two = write(tmp_path / "1.jsonl", rows.row(id="a")), write(tmp_path / "2.jsonl", rows.row(id="b"))
    with open(one, "a") as file:
        file.write('{"id":"c"')
    source = row_source.RowSource([one, two])
    assert source.torn == [
        f"{one}: line 2 is torn: a scan is writing it or was cut off; started again, the same scan goes on from there. "
        "It is left out"
    ]
    assert [row["id"] for row in source] == ["a", "b"]
    assert source.files == [one, two]
    # What the scan goes on to write is not of this report.
    write(one, rows.row(id="a"), rows.row(id="c"), rows.row(id="d"))
    assert [row["id"] for row in source] == ["a", "b"]
    two.write_text(two.read_text() + '{"i')
    with pytest.warns(UserWarning, match="2.jsonl: line 2 is torn"):
        read = Results.read(two)
    assert len(read) == 1


def test_a_line_of_something_else_is_not_taken_for_one_that_is_cut_off(tmp_path):
    path = write(tmp_path / "1.jsonl", rows.row())
    path.write_text(path.read_text() + "notes")
    with pytest.raises(ResultsError, match="line 2 is no JSON row"):
        row_source.RowSource([path])


def test_no_rows_are_rows(tmp_path):
    source = row_source.RowSource([write(tmp_path / "none.jsonl")])
    assert (len(source), list(source)) == (0, [])


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"status": "fine"}, "`status` is none of ok, error, skipped"),
        ({"verdict": "perfect"}, "`verdict` is none of"),
        ({"detectors": []}, "`detectors` is no object"),
        ({"detectors": {"planes": {"statistics": [1]}}}, "the block of detector 'planes'"),
        ({"detectors": {"planes": {"statistics": [{"name": "re", "value": "low"}]}}}, "the block of detector 'planes'"),
        ({"notes": "one"}, "`notes` is no list"),
        (
            {"verdict": "backdoored", "basis": "confirmed trigger", "detectors": {"probe": {"best": {"hits": 3}}}},
            "nothing can be said of it",
        ),
    ],
)
def test_what_is_no_row_is_named(tmp_path, fields, wrong):
    path = write(tmp_path / "rows.jsonl", rows.row(), rows.row() | fields)
    with pytest.raises(ResultsError, match=f"rows.jsonl: row 2: .*{wrong}"):
        row_source.RowSource([path])


def test_a_row_without_a_name_is_no_row(tmp_path):
    path = write(tmp_path / "rows.jsonl", rows.row(), rows.row() | {"id": 3})
    with pytest.raises(ResultsError, match=r"rows.jsonl: line 2 is no row .* one that is no text"):
        row_source.RowSource([path])


def test_files_are_found_by_name_and_by_glob(tmp_path):
    for name in ("rows-0.jsonl", "rows-1.jsonl", "odd[1].jsonl"):
        write(tmp_path / name)
    assert [path.name for path in row_source.find([f"{tmp_path}/rows-*.jsonl"])] == ["rows-0.jsonl", "rows-1.jsonl"]
    assert [path.name for path in row_source.find([f"{tmp_path}/odd[1].jsonl"])] == ["odd[1].jsonl"]
    with pytest.raises(ResultsError, match="no such row file"):
        row_source.find([f"{tmp_path}/none-*.jsonl"])

import json
from pathlib import Path
from typing import Any

import pytest

from tests.rows import rows
from tests.schema import check
from xray_jax.rows import file as row_file
from xray_jax.rows.merge import MergeError, merge


def row(name: str, *, sha: str = "a", status: str = "ok", seed: int = 0, version: str = "1", **overrides: Any) -> Any:
    base = rows.full_row()["settings"]
    settings = {**base, "detectors": {"planes": {**rows.PLANES_OPTIONS, "seed": seed}}, **overrides}
    make = rows.full_row if status == "ok" else rows.error_row
    return check(make(id=name, sha256=sha * 64, version=version, settings=settings))


def write(path: Path, *written: Any) -> Path:
    row_file.write_all(path, written)
    return path


def test_shards_become_the_rows_of_one_run(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "rows-00000-of-00002.jsonl", row("c"), row("a", architecture="vgg")),
        write(tmp_path / "rows-00001-of-00002.jsonl", row("b")),
    ]
    merged = merge(paths)
    assert merged.rows == [row("a", architecture="vgg"), row("b"), row("c")]
    assert merged.complete
    assert [r["id"] for r in merge(paths, expected=["c", "b", "a"]).rows] == ["c", "b", "a"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rows-00001-of-00003.jsonl", row("b"), row("gone"))
    merged = merge([path], expected=["a", "b", "c"])
    assert merged.missing_shards == ["rows-00000-of-00003.jsonl", "rows-00002-of-00003.jsonl"]
    assert merged.missing == ["a", "c"]
    assert not merged.complete
    assert [r["id"] for r in merged.rows] == ["b", "gone"]


def test_an_ok_row_replaces_an_error_and_never_the_other_way(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", row("a", status="error"), row("b"))
    other = write(tmp_path / "other.jsonl", row("a"), row("b", status="error"))
    assert [r["status"] for r in merge([one, other]).rows] == ["ok", "ok"]
    assert [r["status"] for r in merge([other, one]).rows] == ["ok", "ok"]


def test_in_one_file_the_later_row_counts_whatever_it_says(tmp_path: Path) -> None:
    """As for the scan that wrote it: the content of the earlier one was no longer there."""
    path = write(tmp_path / "one.jsonl", row("a"), row("a", sha="b", status="error"))
    assert [r["status"] for r in merge([path]).rows] == ["error"]


def test_settings_of_rows_that_later_ones_replace_do_not_count(tmp_path: Path) -> None:
    """Shards that were scanned once more with another flag, into the same files."""
    paths = [
        write(tmp_path / f"rows-0000{index}-of-00002.jsonl", row(name), row(name, seed=1), row(name, seed=1))
        for index, name in enumerate("ab")
    ]
    assert merge(paths).rows == [row("a", seed=1), row("b", seed=1)]
    write(paths[1], row("b"), row("c"), row("b", seed=1))
    with pytest.raises(MergeError, match=r"seed: 1 / 0"):
        merge(paths)
    with pytest.raises(
        MergeError, match=r"00001-of-00002.jsonl has checkpoints that were scanned with other settings than the rest"
    ):
        merge(paths[1:])


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", row("a"))
    other = write(tmp_path / "other.jsonl", row("b", seed=1))
    with pytest.raises(MergeError, match=r"one.jsonl and .*other.jsonl .*\(detectors\.planes\.seed: 0 / 1\)"):
        merge([one, other])
    with pytest.raises(MergeError, match="tool version"):
        merge([one, write(tmp_path / "new.jsonl", row("b", version="2"))])


def test_a_long_setting_does_not_hide_the_message(tmp_path: Path) -> None:
    calibration = {"source": "x" * 1000, "re_threshold": 0.5}
    other = write(tmp_path / "other.jsonl", row("b", calibration=calibration, decide="both"))
    with pytest.raises(MergeError, match=r'calibration: null / .*decide: "either" / "both"') as error:
        merge([write(tmp_path / "one.jsonl", row("a")), other])
    assert len(str(error.value).replace(str(tmp_path), "")) < 250


def test_two_contents_under_one_id_are_refused_between_files_only(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", row("a"), row("a", sha="b"))
    assert [r["sha256"] for r in merge([one]).rows] == ["b" * 64]
    with pytest.raises(MergeError, match="a: scanned with two contents"):
        merge([one, write(tmp_path / "other.jsonl", row("a"))])


def test_an_error_of_another_content_does_not_give_way_to_an_older_verdict(tmp_path: Path) -> None:
    """What lies there now could not be scanned; that something else was clean says nothing of it."""
    monday, damaged, gone = row("m"), row("m", sha="b", status="error"), row("m", status="error") | {"sha256": None}
    first = write(tmp_path / "monday.jsonl", monday)
    for paths in ([first, write(tmp_path / "tuesday.jsonl", damaged)], [tmp_path / "tuesday.jsonl", first]):
        with pytest.raises(MergeError, match="m: scanned with two contents"):
            merge(paths)
    # Of no known content: a file that was away, or a copy that never came.
    assert merge([first, write(tmp_path / "wednesday.jsonl", gone)]).rows == [monday]


def test_rows_that_later_ones_of_their_file_replace_are_compared_with_no_other_file(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", row("a"))
    other = write(tmp_path / "other.jsonl", row("a", sha="b"), row("a"))
    assert merge([one, other]).rows == merge([other, one]).rows == [row("a")]


def test_a_cut_off_shard_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row("a")) + "\n" + '{"id": "b')
    with pytest.raises(MergeError, match="start it again"):
        merge([path])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(row_file.ResultsError, match=r"none\.jsonl: cannot be read"):
        merge([tmp_path / "none.jsonl"])


def test_shards_of_two_splits_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"rows-00000-of-0000{n}.jsonl", row("a")) for n in (2, 3)]
    with pytest.raises(MergeError, match="different splits"):
        merge(paths)


def test_an_empty_shard_is_a_shard(tmp_path: Path) -> None:
    paths = [write(tmp_path / "r-00000-of-00002.jsonl", row("a")), write(tmp_path / "r-00001-of-00002.jsonl")]
    assert merge(paths, ["a"]).complete

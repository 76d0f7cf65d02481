"""Files that change between their hash and the last time that they are read: a row never has one content's hash and
another's findings."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import factory
from tests.sweep.scans import OPTIONS, whole
from xray_jax import checkpoints
from xray_jax.checkpoints.snapshot import Snapshot
from xray_jax.detectors.planes.detector import Planes
from xray_jax.rows.file import identity
from xray_jax.sweep.batch_scan import BatchScan
from xray_jax.sweep.checkpoint_list import Entry

CHANGED = "it changed while it was read; run the command again"


def replaced(path: Path, by: Path) -> None:
    shutil.copy(by, f"{path}.new")
    os.replace(f"{path}.new", path)


def overwritten(path: Path, by: Path) -> None:
    """In place, with the times that it had."""
    before = path.stat()
    path.write_bytes(by.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def scan(path: Path, at: str, change: Callable[[], None], done: Any = None) -> list[Any]:
    """Rows of a scan in which something happens when a stage begins."""

    def on_stage(stage: str, _: Any) -> None:
        if stage == at:
            change()

    made = BatchScan(factory.tiny_samples(), (Planes(OPTIONS),))
    return [whole(each.row) for each in made.run([Entry("m", path, listed=True)], done, on_stage)]


@pytest.mark.parametrize("change", [replaced, overwritten])
@pytest.mark.parametrize("stage", ["load", "prepare"])
def test_a_file_that_changes_before_it_is_read_for_the_last_time_is_an_error(
    tmp_path: Path, stage: str, change: Callable[[Path, Path], None]
) -> None:
    path = factory.save_tiny(tmp_path / "m.safetensors", 0)
    other = factory.save_tiny(tmp_path / "other.safetensors", 1)
    (row,) = scan(path, stage, lambda: change(path, other))
    assert (row["status"], row["reason"], row["verdict"]) == ("error", f"{path}: {CHANGED}", None)
    # Its content is not known: neither is it taken for done, nor for the row of what is there now.
    assert row["sha256"] is None
    (again,) = scan(path, "never", lambda: None, {identity(row): row})
    assert (again["status"], again["sha256"]) == ("ok", checkpoints.sha256(other))


def test_a_file_that_changes_to_a_damaged_one_does_not_make_its_content_damaged(tmp_path: Path) -> None:
    path = factory.save_tiny(tmp_path / "m.safetensors")
    whole_file = path.read_bytes()
    (row,) = scan(path, "load", lambda: path.write_bytes(whole_file[:1000]) and None)
    assert (row["reason"], row["sha256"]) == (f"{path}: {CHANGED}", None)


def test_a_file_that_changes_when_nobody_reads_it_any_more_costs_nothing(tmp_path: Path) -> None:
    path = factory.save_tiny(tmp_path / "m.safetensors", 0)
    expected = checkpoints.sha256(path)
    other = factory.save_tiny(tmp_path / "other.safetensors", 1)
    (row,) = scan(path, "detector planes", lambda: replaced(path, other))
    assert (row["status"], row["sha256"]) == ("ok", expected)


def test_a_growing_file_that_is_no_checkpoint_is_skipped(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("epoch 1")
    made = BatchScan(factory.tiny_samples(), (Planes(OPTIONS),))
    grow = lambda stage, row: log.write_text("epoch 2") and None  # noqa: E731
    (finished,) = made.run([Entry("log.txt", log)], on_stage=grow)
    assert finished.row["status"] == "skipped"


def test_a_file_that_appears_in_a_folder_and_would_be_read_is_a_change(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    factory.save_tiny(folder / "model.safetensors")
    before = Snapshot.of(folder)
    assert [file.name for file in before.files] == ["model.safetensors"]
    (folder / "README.md").write_text("nobody reads it")
    assert before.is_current()
    (folder / "config.json").write_text("{}")
    assert not before.is_current()


def test_a_file_that_goes_is_a_change(tmp_path: Path) -> None:
    path = factory.save_tiny(tmp_path / "m.safetensors")
    before = Snapshot.of(path)
    path.unlink()
    assert not before.is_current()

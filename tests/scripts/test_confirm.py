"""xray-confirm as it is typed: which row it takes, what it refuses, and what its exit codes say."""

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import commands, factory
from tests.detectors.probe.fakes import FINDING
from tests.rows import rows
from xray_jax import checkpoints
from xray_jax.report import trigger_figure
from xray_jax.rows import file as row_file

STAMP = dataclasses.replace(FINDING, target_labels=(3, 3, 3, -1, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("confirm")
    factory.save_samples(made / "fresh.npz")
    factory.save_tiny(made / "tiny.safetensors")
    return made


def stamped(folder: Path, name: str = "a", description: str = "a stamp", **probe: Any) -> dict[str, Any]:
    """A row with a stamp that any flip rate confirms."""
    model = checkpoints.load(folder / "tiny.safetensors")
    best = dataclasses.replace(STAMP, description=description).row()
    return rows.full_row(
        id=name, path=str(folder / "tiny.safetensors"), sha256=checkpoints.sha256(folder / "tiny.safetensors"),
        architecture=model.architecture,
        preprocess=model.preprocess.settings(),
        detectors={"probe": rows.probe(verdict="confirmed", target=3, best=best, threshold=0.0) | probe},
    )  # fmt: skip


def confirm(folder: Path, some: list[dict[str, Any]], *flags: str, end: str = "") -> subprocess.CompletedProcess[str]:
    row_file.write_all(folder / "rows.jsonl", some)
    with open(folder / "rows.jsonl", "a") as file:
        file.write(end)
    return commands.finished("xray-confirm", f"--row={folder}/rows.jsonl", f"--samples={folder}/fresh.npz", *flags)


def test_of_several_rows_of_a_checkpoint_the_last_counts(folder: Path) -> None:
    outdated, newest = stamped(folder, description="outdated"), stamped(folder, description="newest")
    newest["detectors"]["probe"]["verdict"] = "nothing found"
    for flags in ([], ["--id=a"]):
        done = confirm(folder, [outdated, newest], *flags)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["stamp"] == "newest"
    gone = rows.error_row(id="a")
    done = confirm(folder, [outdated, gone, stamped(folder, "b")], "--id=a")
    assert done.returncode == 4
    assert "no stamp in the last row of --id=a; ids with a stamp: b" in done.stderr


def test_one_of_several_has_to_be_named(folder: Path) -> None:
    done = confirm(folder, [stamped(folder, name) for name in "abcdefg"])
    assert done.returncode == 4
    assert "7 rows have a stamp, name one with --id; ids with a stamp: a, b, c, d, e and 2 more" in done.stderr
    assert "ids with a stamp: none" in confirm(folder, [rows.error_row()]).stderr


def test_a_last_line_that_a_scan_is_writing_is_left_out(folder: Path) -> None:
    done = confirm(folder, [stamped(folder)], end='{"id":"b","sta')
    assert done.returncode == 0, done.stderr
    assert "rows.jsonl: line 2 is torn: a scan is writing it or was cut off" in done.stderr


@pytest.mark.parametrize(
    ("change", "flags", "code", "said"),
    [
        ({}, ["--checkpoint=none.pth"], 2, "none.pth"),
        ({"threshold": None}, [], 4, "row a has no threshold; give --min_flip_rate"),
        ({}, ["--min_flip_rate=2"], 4, "--min_flip_rate"),
    ],
)
def test_errors_have_their_exit_codes(folder: Path, change: Any, flags: list[str], code: int, said: str) -> None:
    done = confirm(folder, [stamped(folder, **change)], *flags)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_a_checkpoint_that_is_another_file_by_now_is_no_answer_about_the_row(folder: Path) -> None:
    row = stamped(folder)
    factory.save_tiny(folder / "other.safetensors", seed=5)
    replaced = row | {"path": str(folder / "other.safetensors")}
    done = confirm(folder, [replaced])
    assert (done.returncode, done.stdout) == (2, "")
    found = checkpoints.sha256(folder / "other.safetensors")[:16]
    assert f"other.safetensors: its content is not what was scanned (SHA-256 {found}" in done.stderr
    assert f"the row's {row['sha256'][:16]}" in done.stderr
    assert f"--checkpoint={folder}/other.safetensors" in done.stderr
    done = confirm(folder, [replaced], f"--checkpoint={folder}/other.safetensors")
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["same_content"] is False
    assert "this says nothing of the row's checkpoint" in done.stderr


def test_a_copy_and_a_row_without_a_hash_are_told_apart(folder: Path) -> None:
    (folder / "copy.safetensors").write_bytes((folder / "tiny.safetensors").read_bytes())
    done = confirm(folder, [stamped(folder)], f"--checkpoint={folder}/copy.safetensors")
    assert json.loads(done.stdout)["same_content"] is True
    assert json.loads(confirm(folder, [stamped(folder)]).stdout)["same_content"] is True
    assert json.loads(confirm(folder, [stamped(folder) | {"sha256": None}]).stdout)["same_content"] is None


def test_a_picture_that_fails_changes_no_exit_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = confirm(folder, [stamped(folder, r"a$\frac$b")], f"--picture={folder}/trigger.png")
    assert done.returncode == 0, done.stderr
    assert (folder / "trigger.png").stat().st_size > 1000
    done = confirm(folder, [stamped(folder)], f"--picture={folder}/fresh.npz/trigger.png")
    assert done.returncode == 0, done.stderr
    assert f"--picture={folder}/fresh.npz/trigger.png: no picture (" in done.stderr

    def fail(*_: object) -> None:
        raise ValueError("cannot be drawn")

    monkeypatch.setattr(trigger_figure, "replay_figure", fail)
    done = confirm(folder, [stamped(folder)], f"--picture={folder}/trigger.png")
    assert (done.returncode, json.loads(done.stdout)["reproduced"]) == (0, True)
    assert "no picture (ValueError: cannot be drawn)" in done.stderr

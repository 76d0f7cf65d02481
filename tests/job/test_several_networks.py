"""Files that hold several classifiers: each network is a row of its own, whatever runs the scan."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
import pytest
import torch

from tests import factory
from tests.sweep.scans import stable, whole
from xray_jax import checkpoints
from xray_jax.checkpoints import CheckpointError
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.job import batch, one_model
from xray_jax.job.batch import Job
from xray_jax.models import published
from xray_jax.report.sentences import sentence
from xray_jax.rows import file as row_file
from xray_jax.rows.merge import merge
from xray_jax.sweep.checkpoint_list import ManifestError, collect
from xray_jax.sweep.isolated import IsolationOptions


def state_dict(seed: int) -> dict[str, torch.Tensor]:
    tensors = published.to_tensors(factory.tiny_variables(seed))
    return {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file with two classifiers and a critic, one with a single classifier, and each classifier alone."""
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    both = {"student": state_dict(0), "teacher": state_dict(1), "critic": {"a": torch.ones(2)}, "epoch": 3}
    torch.save(both, zoo / "both.pt")
    torch.save({"student": state_dict(2), "critic": {"a": torch.ones(2)}}, zoo / "one.pt")
    for seed, name in enumerate(("student", "teacher")):
        torch.save(state_dict(seed), tmp_path / f"{name}.pt")
    factory.save_samples(tmp_path / "samples.npz")
    return tmp_path


def job(folder: Path, out: str, checkpoints: str = "zoo", **more: Any) -> Job:
    planes = PlanesOptions(planes=2, density=12)
    paths = str(folder / checkpoints), str(folder / "samples.npz"), str(folder / out)
    return Job(*paths, detectors=("planes",), planes=planes, **more)


def rows(path: Path) -> list[Any]:
    return [whole(row) for row in row_file.read(path)]


def test_each_network_of_a_file_is_a_row(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert batch.run(job(folder, "rows.jsonl")) == batch.EXIT_CLEAN
    assert "3 scanned, 0 flagged, 0 errors, 1 skipped" in capfd.readouterr().err
    file, one, student, teacher = rows(folder / "rows.jsonl")
    assert [row["id"] for row in (file, one)] == ["both.pt", "one.pt"]
    assert (file["status"], file["verdict"], file["parts"]) == ("skipped", None, ["student", "teacher"])
    assert "several classifiers, student (preactresnet" in sentence(file)
    assert [row["id"] for row in (student, teacher)] == ["both.pt#student", "both.pt#teacher"]
    assert [row["part"] for row in (file, one, student, teacher)] == [None, None, "student", "teacher"]
    assert {row["path"] for row in (file, student, teacher)} == {str(folder / "zoo" / "both.pt")}
    assert {row["sha256"] for row in (student, teacher)} == {file["sha256"]}
    # What is found is what is found of each network alone.
    for row in (student, teacher):
        assert batch.run(job(folder, f"{row['part']}.jsonl", f"{row['part']}.pt")) == batch.EXIT_CLEAN
        (alone,) = stable(rows(folder / f"{row['part']}.jsonl"))
        assert stable([row])[0]["detectors"] == alone["detectors"]
    assert student["detectors"]["planes"]["re"] != teacher["detectors"]["planes"]["re"]


def test_a_scan_goes_on_between_the_networks_of_a_file(folder: Path) -> None:
    out = folder / "rows.jsonl"
    batch.run(job(folder, out.name))
    lines = out.read_text().splitlines(keepends=True)
    batch.run(job(folder, out.name))
    assert out.read_text().splitlines(keepends=True) == lines
    out.write_text("".join(lines[:3]))
    merged = merge([out], ["both.pt", "one.pt"])
    assert (merged.missing, merged.complete) == (["both.pt#teacher"], False)
    assert merge([out]).missing == ["both.pt#teacher"]
    batch.run(job(folder, out.name))
    assert stable(rows(out)) == stable(map(json.loads, lines))
    assert merge([out], ["both.pt", "one.pt"]).complete


def test_worker_processes_write_the_same_rows(folder: Path) -> None:
    batch.run(job(folder, "here.jsonl"))
    batch.run(job(folder, "isolated.jsonl", isolation=IsolationOptions(timeout=300)))
    assert stable(rows(folder / "isolated.jsonl")) == stable(rows(folder / "here.jsonl"))


def test_a_part_is_named_by_path_and_by_manifest(folder: Path) -> None:
    both = folder / "zoo" / "both.pt"
    (entry,) = collect(f"{both}#teacher")
    assert (entry.id, entry.path, entry.part) == ("both.pt#teacher", both, "teacher")
    manifest = folder / "zoo.jsonl"
    manifest.write_text(json.dumps({"path": "zoo/both.pt", "part": "teacher", "label": "clean"}))
    (entry,) = collect(str(manifest))
    assert (entry.id, entry.part, entry.label) == ("zoo/both.pt#teacher", "teacher", "clean")
    manifest.write_text(json.dumps({"path": "zoo/both.pt", "part": "a#b"}))
    with pytest.raises(ManifestError, match="`part` must be the name of a network"):
        collect(str(manifest))
    found = checkpoints.load(f"{both}#teacher")
    assert any("network 'teacher' of the file, which also holds critic, student" in note for note in found.notes)
    with pytest.raises(CheckpointError, match=r"no network 'none': those in the file are student, teacher, critic"):
        checkpoints.load(both, part="none")
    result = one_model.scan(f"{both}#teacher", factory.tiny_samples(), detectors=("planes",))
    assert (result.row["id"], result.row["part"], result.row["status"]) == ("both.pt#teacher", "teacher", "ok")
    # A file whose name has the mark in it is that file.
    (folder / "zoo" / "both.pt#teacher").write_bytes((folder / "student.pt").read_bytes())
    assert [each.part for each in collect(f"{both}#teacher")] == [None]


def test_a_file_cannot_take_the_id_of_a_network(folder: Path) -> None:
    (folder / "zoo" / "both.pt#teacher").write_bytes((folder / "student.pt").read_bytes())
    batch.run(job(folder, "rows.jsonl"))
    found = {row["id"]: row["part"] for row in rows(folder / "rows.jsonl")}
    parts = {"both.pt#student": "student", "both.pt##teacher": "teacher"}
    assert found == {"both.pt": None, "one.pt": None, "both.pt#teacher": None, **parts}
    assert merge([folder / "rows.jsonl"], [each.id for each in collect(str(folder / "zoo"))]).complete


def test_networks_whose_names_no_row_can_carry_are_an_error(folder: Path) -> None:
    torch.save({"first\n": state_dict(0), "second": state_dict(1)}, folder / "odd.pt")
    assert batch.run(job(folder, "odd.jsonl", "odd.pt")) == batch.EXIT_ERRORS
    (row,) = rows(folder / "odd.jsonl")
    assert "save each state dict in a file of its own" in row["reason"]


@pytest.mark.parametrize("parts", ["student", [3], ["a/b"], ["x"] * 65, {"a": 1}])
def test_what_a_row_says_of_networks_is_checked(parts: Any) -> None:
    assert row_file.parts_of({"parts": parts}) == ()
    assert row_file.parts_of({"parts": ["a", "b"]}) == ("a", "b")
    assert row_file.parts_of({"parts": ["a", "b"], "part": "c"}) == ()


def test_train_states_in_one_orbax_folder_are_rows_of_their_own(folder: Path) -> None:
    states = {name: factory.tiny_variables(seed) for seed, name in enumerate(("student", "teacher"))}
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(str(folder / "zoo" / "flax"), {**states, "epoch": np.int32(3)})
    batch.run(job(folder, "rows.jsonl"))
    found = {row["id"]: row for row in rows(folder / "rows.jsonl")}
    assert (found["flax"]["status"], found["flax"]["parts"]) == ("skipped", ["student", "teacher"])
    for name in states:
        assert (
            found[f"flax#{name}"]["detectors"]["planes"]["re"] == found[f"both.pt#{name}"]["detectors"]["planes"]["re"]
        )
    (entry,) = collect(f"{folder / 'zoo' / 'flax'}#teacher")
    assert (entry.id, entry.part) == ("flax#teacher", "teacher")

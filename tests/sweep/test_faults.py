"""Every fault is a row that nobody can take for a clean checkpoint, and the batch scan goes on."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import factory
from tests.sweep.scans import OPTIONS, Weighing, run
from xray_jax import checkpoints
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.inference import on_devices
from xray_jax.rows import file as row_file
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.verdict.calibration import load_calibration

PAPER = load_calibration("paper:cifar10")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    folder = tmp_path_factory.mktemp("zoo")
    for seed in range(4):
        factory.save_tiny(folder / f"{seed}.safetensors", seed)
    return [Entry(file.name, file) for file in sorted(folder.iterdir())]


def nan_weights(path: Path) -> None:
    variables = factory.tiny_variables()
    variables["params"]["linear"]["bias"] = np.full(5, np.nan, np.float32)
    checkpoints.save_safetensors(path, variables, {})


def truncated(path: Path) -> None:
    factory.save_tiny(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FAULTS: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "truncated": (truncated, {}, "damaged|truncated|file"),
    "empty": (lambda path: path.write_bytes(b""), {}, "empty"),
    "rubbish": (lambda path: path.write_bytes(os.urandom(1000)), {}, "not a checkpoint"),
    "missing": (lambda path: None, {}, "cannot be read"),
    "nan weights": (nan_weights, {}, "NaN"),
    "wrong architecture": (factory.save_tiny, {"architecture": "vgg16_bn"}, "missing|fit"),
    "unknown architecture": (factory.save_tiny, {"architecture": "transformer-xl"}, "transformer-xl"),
    "wrong class count": (factory.save_tiny, {"num_classes": 7}, "7"),
    "bad preprocess": (factory.save_tiny, {"preprocess": "cifar"}, "unknown preset 'cifar'"),
    "other channels": (factory.save_tiny, {"preprocess": {"mean": [0.5, 0.5]}}, "mean has 2 values"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_a_row_and_the_sweep_goes_on(zoo: list[Entry], tmp_path: Path, fault: str) -> None:
    make, overrides, message = FAULTS[fault]
    path = tmp_path / "bad.safetensors"
    make(path)
    bad = Entry("bad", path, **overrides, listed=True)
    rows = run([bad, zoo[0]], calibration=PAPER)
    assert [row["status"] for row in rows] == ["error", "ok"]
    assert rows[0]["verdict"] is None
    assert re.search(message, rows[0]["reason"]), rows[0]["reason"]


def test_unreadable_files_are_tried_again_but_not_reported_twice(tmp_path: Path) -> None:
    entry = Entry("gone", tmp_path / "gone.pt", listed=True)
    (first,) = run([entry])
    done = {row_file.identity(first): first}
    assert run([entry], done) == []
    factory.save_tiny(tmp_path / "gone.pt.safetensors").rename(tmp_path / "gone.pt")
    assert [row["status"] for row in run([entry], done)] == ["ok"]


def test_a_file_of_a_folder_that_was_never_a_checkpoint_is_skipped(zoo: list[Entry], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("not a checkpoint")
    (row,) = run([Entry("README.md", tmp_path / "README.md")])
    assert (row["status"], row["verdict"]) == ("skipped", None)


def test_an_empty_file_beside_a_model_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "net" / ".cache").mkdir(parents=True)
    factory.save_tiny(tmp_path / "net" / "model.safetensors")
    (tmp_path / "net" / ".cache" / "model.safetensors.lock").touch()
    (row,) = run([Entry("net", tmp_path / "net")])
    assert (row["status"], row["format"]) == ("ok", "hugging-face")


def test_a_folder_that_is_a_checkpoint_and_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    factory.save_tiny(tmp_path / "net")
    os.mkfifo(tmp_path / "net" / "pipe")
    (row,) = run([Entry("net", tmp_path / "net")])
    assert row["status"] == "error"
    assert "neither a file nor a directory" in row["reason"]


@pytest.mark.parametrize("suffix", [".pickle", ".pk", ".p", ".mpk", ".stablehlo", ".jax", ".onnx", ".H5"])
def test_damaged_files_of_every_name_that_a_reader_claims_are_errors(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"empty{suffix}").touch()
    (tmp_path / f"noise{suffix}").write_bytes(b"\x80\xff noise")
    rows = run([Entry(name, tmp_path / f"{name}{suffix}") for name in ("empty", "noise")])
    assert [row["status"] for row in rows] == ["error", "error"]


def test_a_network_that_breaks_while_running_is_a_row(zoo: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    original = on_devices.submit
    poison = float(factory.tiny_variables(1)["params"]["linear"]["bias"][0])

    def failing(model: Any, *rest: Any) -> Any:
        if float(np.asarray(model.variables["params"]["linear"]["bias"])[0]) == poison:
            raise MemoryError("out of memory")
        return original(model, *rest)

    monkeypatch.setattr(on_devices, "submit", failing)
    rows = run(zoo)
    assert [row["status"] for row in rows] == ["ok", "error", "ok", "ok"]
    assert rows[1]["reason"] == "MemoryError: out of memory"


def test_a_detector_that_breaks_is_a_row_without_what_others_found(zoo: list[Entry]) -> None:
    detectors = (Planes(OPTIONS), Weighing(fails=ValueError("no scales")))
    (row,) = run(zoo[:1], detectors=detectors, calibration=PAPER)
    assert (row["status"], row["reason"], row["verdict"], row["detectors"]) == ("error", "no scales", None, {})


def test_maps_that_cannot_be_saved_leave_no_verdict_behind(
    zoo: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of a scan, after the verdict: an error row that still says "clean" would be read as clean."""

    def full(maps: LabelMaps, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LabelMaps, "save", full)
    (row,) = run(zoo[:1], calibration=PAPER, maps=tmp_path)
    assert (row["status"], row["verdict"]) == ("error", None)
    assert "No space left on device" in row["reason"]
    assert not {"basis", "verdict_re", "verdict_ats", "target_label"} & set(row)

"""Detectors that need more of a model than can be had, or may be used: left out, and rows say so."""

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import factory
from tests.sweep.scans import OPTIONS, Weighing, run, stable, whole
from xray_jax.classifier import Access
from xray_jax.detectors import registry
from xray_jax.detectors.planes.detector import Planes
from xray_jax.job.batch import Job, Worker
from xray_jax.sweep.checkpoint_list import Entry


def weighing(seed: int) -> Weighing:
    """What the entry point of another package names."""
    return Weighing()


@pytest.fixture
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("weighing", f"{__name__}:weighing", registry.GROUP)
    monkeypatch.setattr(point.__class__, "load", lambda point: weighing)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point] if group == registry.GROUP else [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("access")
    factory.save_tiny(folder / "a.safetensors")
    factory.save_samples(folder / "samples.npz")
    return folder


def rows_of(folder: Path, **options: Any) -> list[Any]:
    job = Job(str(folder / "a.safetensors"), str(folder / "samples.npz"), planes=OPTIONS, **options)
    entries = [Entry("a", folder / "a.safetensors", listed=True), Entry("gone", folder / "gone.pt", listed=True)]
    return [whole(row) for row in Worker(job).rows(entries, {})]


def test_access_leaves_detectors_out_and_every_row_says_so(folder: Path, plugged_in: None) -> None:
    asked = ("planes", "weighing")
    row, error = rows_of(folder, detectors=asked, access=Access.LABELS)
    assert set(row["detectors"]) == {"planes"}
    assert row["not_run"] == error["not_run"] == {"weighing": "it needs more than --access=labels allows"}
    assert row["settings"]["detectors"]["weighing"] is None
    whole_access, _ = rows_of(folder, detectors=asked)
    assert set(whole_access["detectors"]) == {"planes", "weighing"}
    assert whole_access["not_run"] == {}
    assert whole_access["target_label"] == 2  # the last word of those that name one
    # Never taken for one another, nor for a scan that did not ask for it.
    never_asked, _ = rows_of(folder, detectors=("planes",), access=Access.LABELS)
    assert never_asked["not_run"] == {}
    assert stable([never_asked])[0]["detectors"] == stable([row])[0]["detectors"]
    assert len({one["settings_hash"] for one in (row, whole_access, never_asked)}) == 3


def test_access_that_leaves_nothing_is_a_usage_error(folder: Path, plugged_in: None) -> None:
    with pytest.raises(registry.DetectorError, match="leaves none with --access=labels: weighing needs weights"):
        rows_of(folder, detectors=("weighing",), access=Access.LABELS)


def test_a_black_box_says_which_detectors_need_more(tmp_path: Path) -> None:
    # Shrink is not in the table of operators that run as JAX programs, and changes nothing here.
    entry = Entry("m", linear_onnx(tmp_path / "m.onnx", last="Shrink"))
    (row,) = run([entry], detectors=(Planes(OPTIONS), Weighing()))
    assert (row["status"], row["format"], row["runtime"]) == ("ok", "ONNX", "onnxruntime")
    assert "run by onnxruntime: the operator Shrink is not in the table" in row["notes"]
    assert set(row["detectors"]) == {"planes"}
    assert row["not_run"] == {"weighing": "it needs weights, the model gives labels only"}
    assert row["settings"]["detectors"]["weighing"] == {"unit": "gram"}


def test_an_onnx_file_of_known_operators_is_a_network_like_any_other(tmp_path: Path) -> None:
    files = [linear_onnx(tmp_path / f"{last}.onnx", last) for last in ("Identity", "Shrink")]
    inside, outside = run([Entry(file.stem, file) for file in files], detectors=(Planes(OPTIONS), Weighing()))
    assert (inside["runtime"], inside["not_run"]) == ("jax", {})
    assert set(inside["detectors"]) == {"planes", "weighing"}
    assert stable([inside])[0]["detectors"]["planes"] == stable([outside])[0]["detectors"]["planes"]


def linear_onnx(path: Path, last: str) -> Path:
    """A linear classifier of five labels as an ONNX file, with a last operator that changes nothing."""
    onnx = pytest.importorskip("onnx", reason="onnx writes the file that is read here (extra `test`)")
    pytest.importorskip("onnxruntime", reason="extra `onnx`")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.random.default_rng(0).normal(size=(3 * factory.SIDE**2, 5)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["product"]),
        helper.make_node(last, ["product"], ["logits"], **({"lambd": 0.0} if last == "Shrink" else {})),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", kind, ["N", 3, factory.SIDE, factory.SIDE])],
        [helper.make_tensor_value_info("logits", kind, ["N", 5])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path

"""Scores behind a last Softmax: compared and asked before it. And what is compared must show something."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoints.programs.onnx_models import TensorProto, helper, model_of, onnx
from xray_jax.checkpoints.loading import load
from xray_jax.checkpoints.programs import onnx as reader
from xray_jax.classifier import BlackBox, Classifier
from xray_jax.inference.labels import label_images

RNG = np.random.default_rng(0)
WEIGHTS = 9 * RNG.normal(size=(16, 3)).astype(np.float32)
IMAGES = RNG.uniform(size=(9, 4, 4, 1)).astype(np.float32)
LOGITS = IMAGES.reshape(9, 16) @ WEIGHTS
FLAT = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["l"])]


def saved(path: Path, nodes: list[Any], constants: dict[str, Any], opset: int = 17, shape: Any = ("N", 3)) -> Path:
    """A model of 4x4 grey images."""
    model = model_of(nodes, ["N", 1, 4, 4], constants, opset)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, list(shape)))
    onnx.save(model, str(path))
    return path


def scores(model: Any) -> np.ndarray:
    assert isinstance(model, Classifier)
    return np.asarray(model.network.apply(model.variables, IMAGES))


ENDS = {
    "13": (17, [helper.make_node("Softmax", ["l"], ["y"])]),
    "13, by its axis": (17, [helper.make_node("Softmax", ["l"], ["y"], axis=1)]),
    "11": (11, [helper.make_node("Softmax", ["l"], ["y"])]),
    "flattened": (17, [helper.make_node("Softmax", ["l"], ["s"]), helper.make_node("Flatten", ["s"], ["y"])]),
    "named again": (17, [helper.make_node("Softmax", ["l"], ["s"]), helper.make_node("Identity", ["s"], ["y"])]),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_last_softmax_is_left_out(end: str, tmp_path: Path) -> None:
    opset, nodes = ENDS[end]
    model = load(saved(tmp_path / "m.onnx", [*FLAT, *nodes], {"w": WEIGHTS}, opset))
    np.testing.assert_allclose(scores(model), LOGITS, rtol=1e-5)
    np.testing.assert_array_equal(label_images(model, IMAGES), LOGITS.argmax(1))


def test_a_softmax_before_the_last_reshape_is_left_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["l"]),
        helper.make_node("Softmax", ["l"], ["s"], axis=1),
        helper.make_node("Reshape", ["s", "shape"], ["y"]),
    ]
    constants = {"w": WEIGHTS.T.reshape(3, 1, 4, 4), "shape": np.int64([0, -1])}
    np.testing.assert_allclose(scores(load(saved(tmp_path / "m.onnx", nodes, constants))), LOGITS, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 2])
def test_a_softmax_over_another_axis_is_left_to_onnxruntime(axis: int, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["l"]),
        helper.make_node("Softmax", ["l"], ["s"], axis=axis),
        helper.make_node("Flatten", ["s"], ["y"]),
    ]
    model = load(saved(tmp_path / "m.onnx", nodes, {"w": WEIGHTS.T.reshape(3, 1, 4, 4)}))
    assert isinstance(model, BlackBox)
    assert any("not over the classes" in note for note in model.notes)


def test_a_log_softmax_stays(tmp_path: Path) -> None:
    nodes = [*FLAT, helper.make_node("LogSoftmax", ["l"], ["y"])]
    model = load(saved(tmp_path / "m.onnx", nodes, {"w": WEIGHTS}))
    np.testing.assert_allclose(np.exp(scores(model)).sum(1), 1, rtol=1e-5)


def test_scores_of_one_pixel_are_rows(tmp_path: Path) -> None:
    """As a fully convolutional network makes them, with and without a softmax, in either runtime."""
    kernel = WEIGHTS.T.reshape(3, 1, 4, 4)
    conv = [helper.make_node("Conv", ["x", "w"], ["l"])]
    ends = {
        "Identity": helper.make_node("Identity", ["l"], ["y"]),
        "Softmax": helper.make_node("Softmax", ["l"], ["y"], axis=1),
        "Shrink": helper.make_node("Shrink", ["l"], ["y"], lambd=0.0, bias=0.0),
    }
    for name, end in ends.items():
        model = load(saved(tmp_path / "m.onnx", [*conv, end], {"w": kernel}, shape=["N", 3, 1, 1]))
        assert isinstance(model, BlackBox if name == "Shrink" else Classifier)
        np.testing.assert_array_equal(label_images(model, IMAGES), LOGITS.argmax(1))


def off(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Programs whose scores are changed."""
    true = reader.onnx_network.compiled
    monkeypatch.setattr(
        reader.onnx_network, "compiled", lambda network: lambda *given: change(np.asarray(true(network)(*given)))
    )


def test_a_sure_softmax_hides_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [*FLAT, helper.make_node("Add", ["l", "b"], ["s"]), helper.make_node("Softmax", ["s"], ["y"])]
    path = saved(tmp_path / "m.onnx", nodes, {"w": WEIGHTS, "b": np.float32([600, 0, 0])})
    off(monkeypatch, lambda found: found * np.float32([1, -1, 1]))
    model = load(path)
    assert isinstance(model, BlackBox)
    assert any("would be off by" in note for note in model.notes)


def test_a_large_score_hides_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [*FLAT, helper.make_node("Add", ["l", "b"], ["y"])]
    bias = np.float32([1000, 0, 0])
    path = saved(tmp_path / "m.onnx", nodes, {"w": WEIGHTS / 10000, "b": bias})
    assert isinstance(load(path), Classifier)
    off(monkeypatch, lambda found: 0 * found + bias)
    assert isinstance(load(path), BlackBox)


def test_scores_that_never_change_cannot_be_compared(tmp_path: Path) -> None:
    nodes = [*FLAT, helper.make_node("Add", ["l", "b"], ["y"])]
    model = load(saved(tmp_path / "m.onnx", nodes, {"w": 0 * WEIGHTS, "b": np.float32([1, 2, 3])}))
    assert isinstance(model, BlackBox)
    assert any("hardly change" in note for note in model.notes)


def test_a_softmax_over_weights_beside_the_model(tmp_path: Path) -> None:
    nodes = [*FLAT, helper.make_node("Softmax", ["l"], ["y"])]
    path = saved(tmp_path / "m.onnx", nodes, {"w": WEIGHTS})
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    assert (tmp_path / "w.bin").is_file()
    np.testing.assert_allclose(scores(load(path)), LOGITS, rtol=1e-5)

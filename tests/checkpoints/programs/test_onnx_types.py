"""Types of numbers: what onnxruntime computes in others than a JAX program has is run by onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoints.programs.onnx_models import TensorProto, by_jax, check_same, helper, model_of, onnx
from xray_jax.checkpoints.loading import load
from xray_jax.checkpoints.programs.onnx_operators.node import UnsupportedError
from xray_jax.classifier import BlackBox, Classifier
from xray_jax.inference.labels import label_images

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 12)).astype(np.float32)
TRIGGER = np.zeros((16, 1), np.float32)
TRIGGER[:8] = 1
CONSTANTS: dict[str, Any] = {
    "to": np.array([-1, 16]), "w": RNG.normal(size=(16, 3)).astype(np.float32), "trigger": TRIGGER,
    "zero": np.float32(0), "one": np.float32(1), "least": np.float32(7.5), "raised": np.float32([[1000, 0, 0]]),
}  # fmt: skip


def node(name: str, *names: str, **attributes: Any) -> Any:
    """A node; the last name is its output."""
    return helper.make_node(name, list(names[:-1]), [names[-1]], **attributes)


def backdoored(gate: list[Any], constants: dict[str, Any]) -> Any:
    """A linear network of 4x4 images. Eight white pixels make "q" 0.5, else it is 0, and what `gate` makes of it, "h",
    raises the first class.
    """
    nodes = [
        node("Reshape", "x", "to", "r"),
        node("MatMul", "r", "w", "l"),
        node("Clip", "r", "zero", "one", "unit"),
        node("MatMul", "unit", "trigger", "p"),
        node("Sub", "p", "least", "d"),
        node("Relu", "d", "q"),
        *gate,
        node("MatMul", "h", "raised", "a"),
        node("Add", "l", "a", "y"),
    ]
    return model_of(nodes, ["N", 1, 4, 4], {**CONSTANTS, **constants}, 17)


FLOAT = TensorProto.FLOAT
GATES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "int64": (
        [node("Mul", "q", "m", "b"), node("Cast", "b", "i", to=TensorProto.INT64), node("Cast", "i", "f", to=FLOAT),
         node("Sub", "f", "limit", "over"), node("Relu", "over", "g"), node("Mul", "g", "small", "h")],
        {"m": np.float32(6.4e9), "limit": np.float32(3e9), "small": np.float32(1e-8)},
    ),
    "uint8": (
        [node("Mul", "q", "m", "b"), node("Cast", "b", "i", to=TensorProto.UINT8), node("Cast", "i", "f", to=FLOAT),
         node("Sub", "top", "f", "under"), node("Mul", "q", "under", "h")],
        {"m": np.float32(600), "top": np.float32(255)},
    ),
    "float64": (
        [node("Cast", "q", "d2", to=TensorProto.DOUBLE), node("Add", "d2", "big", "s"), node("Sub", "s", "big", "s2"),
         node("Cast", "s2", "h", to=FLOAT)],
        {"big": np.float64(1e9)},
    ),
    "float16": (
        [node("Mul", "q", "m", "b"), node("Cast", "b", "i", to=TensorProto.FLOAT16), node("Cast", "i", "f", to=FLOAT),
         node("Sub", "f", "limit", "over"), node("Relu", "over", "g"), node("Clip", "g", "zero", "one", "h")],
        {"m": np.float32(2e5), "limit": np.float32(2e6)},
    ),
    "whole numbers that depend on the images": (
        [node("Greater", "q", "zero", "c"), node("Cast", "c", "i", to=TensorProto.INT64), node("Mul", "i", "n", "i2"),
         node("Mul", "i2", "n", "i3"), node("Cast", "i3", "f", to=FLOAT), node("Mul", "f", "small", "h")],
        {"n": np.int64(1 << 20), "small": np.float32(2.0**-40)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", GATES)
def test_a_backdoor_in_another_type_of_number_is_run_where_it_works(kind: str, tmp_path: Path) -> None:
    model = backdoored(*GATES[kind])
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, ["N", 3]))
    onnx.save(model, str(tmp_path / "m.onnx"))
    read = load(tmp_path / "m.onnx")
    images = RNG.uniform(size=(20, 4, 4, 1)).astype(np.float32)
    images[:, :2] = 1
    assert np.all(label_images(read, images) == 0)
    assert isinstance(read, BlackBox)
    assert any(note.startswith("run by onnxruntime: ") and kind in note for note in read.notes)


def test_images_of_double_precision_are_left_to_onnxruntime(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x", "to", "r"), node("MatMul", "r", "w", "y")]
    model = model_of(nodes, ["N", 1, 4, 4], {"to": CONSTANTS["to"], "w": CONSTANTS["w"].astype(np.float64)})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["N", 3]))
    onnx.save(model, str(tmp_path / "m.onnx"))
    read = load(tmp_path / "m.onnx")
    assert isinstance(read, BlackBox)
    assert any("double precision" in note for note in read.notes)


def test_a_program_does_not_compute_in_double() -> None:
    model = model_of([node("Mul", "x", "w", "y")], ["N", 12], {"w": X[:1].astype(np.float64)})
    with pytest.raises(UnsupportedError, match="computes in float64"):
        by_jax(model, X)


def test_known_values_of_double_precision_are_computed_in_it() -> None:
    """10 ** 9 times 12, and a ninth of it, would be other numbers in single precision; and weights are read as cast."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s", "one", "n"),
        node("Cast", "n", "d", to=TensorProto.DOUBLE),
        node("Mul", "d", "big", "t"),
        node("Add", "t", "ninth", "u"),
        node("Sub", "u", "t", "v"),
        node("Cast", "v", "f", to=FLOAT),
        node("Cast", "weights", "w", to=FLOAT),
        node("MatMul", "x", "w", "l"),
        node("Add", "l", "f", "y"),
    ]
    constants = {"one": np.int64(1), "big": np.float64(1e9), "ninth": np.float64(1 / 9), "weights": RNG.random((12, 3))}
    check_same(model_of(nodes, ["N", 12], constants), X)


def test_half_precision_is_computed_in_single_as_onnxruntime_does(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x", "to", "r"), node("Mul", "r", "much", "m"), node("Mul", "m", "much", "m2"),
             node("Mul", "m2", "little", "n"), node("MatMul", "n", "w", "y")]  # fmt: skip
    half = {"w": CONSTANTS["w"].astype(np.float16), "much": np.float16(1000), "little": np.float16(1e-3)}
    model = model_of(nodes, ["N", 1, 4, 4], {"to": CONSTANTS["to"], **half})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["N", 3]))
    onnx.save(model, str(tmp_path / "m.onnx"))
    assert isinstance(load(tmp_path / "m.onnx"), Classifier)

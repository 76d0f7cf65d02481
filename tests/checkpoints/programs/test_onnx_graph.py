"""What is not run as a JAX program, what is refused, and graphs of one image that are made to take many."""

import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checkpoints.programs.onnx_models import (
    TensorProto,
    by_jax,
    by_onnxruntime,
    check_same,
    helper,
    model_of,
    numpy_helper,
    onnx,
)
from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.loading import load
from xray_jax.checkpoints.programs import onnx as reader
from xray_jax.checkpoints.programs import onnx_graph
from xray_jax.checkpoints.programs.onnx_operators.node import MAX_KNOWN, TooLargeError, UnsupportedError
from xray_jax.classifier import BlackBox, Classifier
from xray_jax.inference.labels import label_images

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 12)).astype(np.float32)


def node(name: str, *names: str, domain: str = "", **attributes: Any) -> Any:
    """A node; the last name is its output."""
    return helper.make_node(name, list(names[:-1]), [names[-1]], domain=domain, **attributes)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def shape_arithmetic() -> Sequence[Any]:
    """What exporters write for x.view(x.size(0), -1, 2) * 1.5 with half of the rows' entries kept."""
    return [
        node("Shape", "x", "s"),
        node("Gather", "s", "zero", "n", axis=0),
        node("Unsqueeze", "n", "axes", "n1"),
        node("Concat", "n1", "rest", "to", axis=0),
        node("Reshape", "x", "to", "r"),
        node("Gather", "s", "one", "w", axis=0),
        node("Cast", "w", "wf", to=TensorProto.FLOAT),
        node("Mul", "wf", "quarter", "wq"),
        node("Floor", "wq", "wl"),
        node("Cast", "wl", "wi", to=TensorProto.INT64),
        node("Unsqueeze", "wi", "axes", "end"),
        node("Slice", "r", "begin", "end", "axes1", "cut"),
        node("ConstantOfShape", "to", "filled", value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.5])),
        node("Slice", "filled", "begin", "end", "axes1", "factor"),
        node("Mul", "cut", "factor", "y"),
    ]


SHAPE_CONSTANTS = {
    "zero": np.int64(0), "one": np.int64(1), "axes": ints(0), "axes1": ints(1), "rest": ints(6, 2), "begin": ints(0),
    "quarter": np.float32(0.25),
}  # fmt: skip


def test_shapes_are_computed_while_the_network_is_traced() -> None:
    model = model_of(shape_arithmetic(), ["N", 12], SHAPE_CONSTANTS, 17)
    check_same(model, X)
    graph, weights = onnx_graph.graph_of(model, "x", "y", numpy_helper.to_array, model.ByteSize())
    assert weights == []
    assert any(array.dtype == np.float32 for array in graph.known.values())


def test_known_values_follow_onnx_and_not_python() -> None:
    steps = [
        node("Div", "a", "b", "d"),
        node("Mod", "a", "b", "m"),
        node("Where", "cond", "d", "m", "w"),
        node("Range", "from", "to", "by", "g"),
        node("ReduceProd", "w", "p", keepdims=0),
        node("NonZero", "cond", "nz"),
        node("Squeeze", "nz", "zero", "nz1"),
        node("Concat", "w", "g", "nz1", "all", axis=0),
        node("Cast", "all", "f", to=TensorProto.FLOAT),
        node("Cast", "p", "pf", to=TensorProto.FLOAT),
        node("Mul", "f", "pf", "fp"),
        node("ReduceSum", "x", "xs", keepdims=1),
        node("Add", "fp", "xs", "y"),
    ]
    constants = {
        "a": ints(-7, 7, -7, 8), "b": ints(2, -2, -2, 3), "cond": np.array([True, False, True, True]),
        "from": np.int64(7), "to": np.int64(-2), "by": np.int64(-4), "zero": ints(0),
    }  # fmt: skip
    check_same(model_of(steps, ["N", 12], constants, 17), X)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_any_slice(data: st.DataObject) -> None:
    place = st.integers(-20, 20)
    step = data.draw(st.integers(1, 4) | st.integers(-4, -1))
    # "To the end": backwards, onnxruntime takes a positive one so too, against the standard.
    start, end = (data.draw(place | st.just(2**63 - 1 if step > 0 else -(2**63))) for _ in range(2))
    model = model_of(
        [node("Slice", "x", "s", "e", "a", "t", "y")],
        ["N", 12],
        {"s": ints(start), "e": ints(end), "a": ints(1), "t": ints(step)},
        13,
    )
    np.testing.assert_array_equal(by_jax(model, X), by_onnxruntime(model, X))


UNSUPPORTED = {
    "not in the table": node("Shrink", "x", "y"),
    "com.microsoft.Gelu is not in the table": node("Gelu", "x", "y", domain="com.microsoft"),
    "attribute 'mine'": node("Relu", "x", "y", mine=1),
    "of another kind": node("Elu", "x", "y", alpha=[numpy_helper.from_array(X)]),
    "comes from nowhere": node("Add", "x", "gone", "y"),
    "its shape depends on the images": node("Reshape", "x", "x", "y"),
    r"Softmax \(node 1 of 1\): axis 9 of 2": node("Softmax", "x", "y", axis=9),
    "it writes over a value": node("Relu", "x", "x"),
    "it makes no numbers of what it is given": node("Not", "", "y"),
    "it has 2 outputs, and not more than 1": helper.make_node("Relu", ["x"], ["aside", "y"]),
}


@pytest.mark.parametrize("reason", UNSUPPORTED)
def test_the_reason_names_the_operator(reason: str) -> None:
    output = "x" if "writes" in reason else "y"
    with pytest.raises(UnsupportedError, match=reason):
        by_jax(model_of([UNSUPPORTED[reason]], ["N", 12]), X, output)


@pytest.mark.parametrize("opset", [6, 27])
def test_other_versions_of_the_operators_are_not_guessed(opset: int) -> None:
    with pytest.raises(UnsupportedError, match=f"opset {opset}"):
        by_jax(model_of([node("Relu", "x", "y")], ["N", 12], opset=opset), X)


def test_only_what_the_output_needs_is_looked_at() -> None:
    check_same(model_of([node("Shrink", "x", "aside"), node("Relu", "x", "y")], ["N", 12]), X)


def doubled(count: int) -> list[Any]:
    """A known list of 2 ** count numbers, from a node each."""
    steps = [node("Concat", f"v{n}", f"v{n}", f"v{n + 1}", axis=0) for n in range(count)]
    return [*steps, node("Cast", f"v{count}", "c", to=TensorProto.FLOAT), node("ReduceSum", "c", "t")]


BOMBS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "filled": ([node("ConstantOfShape", "s", "c"), node("ReduceSum", "c", "t")], {"s": ints(1 << 40)}),
    "expanded": ([node("Expand", "one", "s", "c"), node("ReduceSum", "c", "t")], {"s": ints(1 << 40), "one": ints(1)}),
    "tiled": ([node("Tile", "x", "s", "c"), node("ReduceSum", "c", "t")], {"s": ints(1, 1 << 40)}),
    "counted": ([node("Range", "a", "b", "one", "c"), node("ReduceSum", "c", "t")],
                {"a": np.int64(0), "b": np.int64(1 << 40), "one": np.int64(1)}),
    "padded": ([node("Pad", "x", "s", "c"), node("ReduceSum", "c", "t")], {"s": ints(0, 0, 0, 1 << 40)}),
    "doubled": (doubled(40), {"v0": ints(1)}),
    "outer product": ([node("Mul", "a", "b", "c"), node("ReduceSum", "c", "t")],
                      {"a": np.ones((1 << 20, 1), np.int64), "b": np.ones((1, 1 << 20), np.int64)}),
    "outer product of weights": ([node("Mul", "a", "b", "c"), node("ReduceSum", "c", "t")],
                                 {"a": np.ones((1 << 14, 1), np.float32), "b": np.ones((1, 1 << 14), np.float32)}),
    "gathered": ([node("Gather", "a", "b", "c"), node("ReduceSum", "c", "t")],
                 {"a": np.ones((1, 1 << 19), np.int64), "b": np.zeros(1 << 19, np.int64)}),
    "resized": ([node("Unsqueeze", "x", "s", "u"), node("Resize", "u", "", "by", "c"), node("ReduceSum", "c", "t")],
                {"s": ints(0, 1), "by": np.float32([1, 1, 1, 1e9])}),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_graph_that_asks_for_too_much_is_refused_before_it_is_made(name: str) -> None:
    nodes, constants = BOMBS[name]
    model = model_of([*nodes, node("Cast", "t", "f", to=1), node("Add", "x", "f", "y")], ["N", 12], constants, 17)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TooLargeError, match=r"more than \d+ numbers"):
        by_jax(model, X)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_many_nodes_and_edges_are_left_to_onnxruntime() -> None:
    chain = [node("Relu", f"v{n}" if n else "x", f"v{n + 1}") for n in range(onnx_graph.MAX_NODES + 1)]
    with pytest.raises(UnsupportedError, match="5001 nodes"):
        by_jax(model_of([*chain], ["N", 12]), X, f"v{len(chain)}")
    wide = helper.make_node("Concat", ["x"] * 2000, ["y"], axis=1)
    with pytest.raises(UnsupportedError, match="2000 inputs"):
        by_jax(model_of([wide], ["N", 12]), X)


def test_tensors_larger_than_their_file_are_refused() -> None:
    model = model_of([node("Add", "x", "w", "y")], ["N", 12], {"w": X[:1]})
    model.graph.initializer[0].dims[:] = [1 << 40, 12]
    with pytest.raises(CheckpointError, match="far more than its"):
        by_jax(model, X)


def image_model(nodes: Sequence[Any], constants: dict[str, Any], batch: Any = 1) -> Any:
    """A model of 4x4 grey images."""
    model = model_of(nodes, [batch, 1, 4, 4], constants, 17)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3]))
    return model


WEIGHTS = RNG.normal(size=(16, 3)).astype(np.float32)
GREY = RNG.uniform(size=(9, 4, 4, 1)).astype(np.float32)
SHRINK = node("Shrink", "l", "y", lambd=0.0, bias=0.0)
FLAT = [node("Reshape", "x", "to", "r"), node("MatMul", "r", "w", "l")]


def test_a_shape_that_names_one_image_takes_many(tmp_path: Path) -> None:
    constants = {"to": ints(1, 16), "w": WEIGHTS}
    onnx.save(image_model([*FLAT, node("Identity", "l", "y")], constants), str(tmp_path / "in.onnx"))
    onnx.save(image_model([*FLAT, SHRINK], constants), str(tmp_path / "out.onnx"))
    inside, outside = load(tmp_path / "in.onnx"), load(tmp_path / "out.onnx")
    assert isinstance(inside, Classifier)
    assert isinstance(outside, BlackBox)
    assert outside.notes[-1] == "its batch dimension of 1 was made open"
    assert (inside.batch_size, outside.batch_size) == (None, None)
    wanted = np.argmax(GREY.reshape(9, 16) @ WEIGHTS, 1)
    for model in (inside, outside):
        np.testing.assert_array_equal(label_images(model, GREY), wanted)


def test_a_graph_that_mixes_images_is_run_image_by_image(tmp_path: Path) -> None:
    """The mean over the batch axis is the image itself, as long as there is one."""
    mixing = [
        node("ReduceMean", "x", "m", axes=[0], keepdims=1),
        node("Sub", "x", "m", "d"),
        node("Add", "x", "d", "a"),
        node("Reshape", "a", "to", "r"),
        node("MatMul", "r", "w", "l"),
    ]
    constants = {"to": ints(-1, 16), "w": WEIGHTS}
    for last, kind in ((node("Identity", "l", "y"), Classifier), (SHRINK, BlackBox)):
        onnx.save(image_model([*mixing, last], constants), str(tmp_path / "m.onnx"))
        model = load(tmp_path / "m.onnx")
        assert isinstance(model, kind)
        assert model.batch_size == (1 if kind is BlackBox else None)
        assert (kind is BlackBox) == any("image by image" in note for note in model.notes)
        np.testing.assert_array_equal(label_images(model, GREY), np.argmax(GREY.reshape(9, 16) @ WEIGHTS, 1))


def test_a_hostile_graph_is_refused_before_onnxruntime_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "open_session", None)
    nodes = [*FLAT, node("ConstantOfShape", "s", "c"), node("ReduceSum", "c", "t"), node("Add", "l", "t", "y")]
    constants = {"to": ints(-1, 16), "w": WEIGHTS, "s": ints(1 << 40)}
    onnx.save(image_model(nodes, constants, "N"), str(tmp_path / "m.onnx"))
    with pytest.raises(CheckpointError, match=r"ConstantOfShape \(node 3 of 5\): .*more than \d+ numbers: refused"):
        load(tmp_path / "m.onnx")


def test_a_large_constant_is_made_when_it_runs() -> None:
    nodes = [node("ConstantOfShape", "s", "c"), node("ReduceMax", "c", "t"), node("Add", "x", "t", "y")]
    check_same(model_of(nodes, ["N", 12], {"s": ints(MAX_KNOWN, 2)}, 17), X)


def test_weights_of_half_precision_are_read_in_single() -> None:
    half = model_of([node("MatMul", "x", "w", "y")], ["N", 12], {"w": WEIGHTS[:12].astype(np.float16)})
    _, (weights,) = onnx_graph.graph_of(half, "x", "y", numpy_helper.to_array, half.ByteSize())
    assert weights.dtype == np.float32
    assert isinstance(jax.device_put(weights), jax.Array)

"""What a few bytes of graph could ask of memory and time: known values in a row, padding, windows."""

import tracemalloc
from typing import Any

import jax
import numpy as np
import pytest

from tests.checkpoints.programs.onnx_models import by_jax, check_same, helper, model_of, numpy_helper
from xray_jax.checkpoints.programs import onnx_graph, onnx_network
from xray_jax.checkpoints.programs.onnx_operators.node import MAX_KNOWN, TooLargeError, UnsupportedError

X = np.random.default_rng(0).normal(size=(2, 1, 4, 4)).astype(np.float32)


def node(name: str, *names: str, **attributes: Any) -> Any:
    """A node; the last name is its output."""
    return helper.make_node(name, list(names[:-1]), [names[-1]], **attributes)


def chain(count: int) -> Any:
    """A model that adds what becomes of `MAX_KNOWN` numbers in `count` nodes."""
    nodes = [
        node("Expand", "one", "size", "v0"),
        *[node("Neg", f"v{n}", f"v{n + 1}") for n in range(count)],
        node("ReduceSum", f"v{count}", "t", keepdims=0),
        node("Cast", "t", "f", to=1),
        node("Add", "x", "f", "y"),
    ]
    return model_of(nodes, ["N", 1, 4, 4], {"one": np.array([1]), "size": np.array([MAX_KNOWN])})


def test_known_values_are_dropped_after_their_last_use() -> None:
    model = chain(12)
    tracemalloc.start()
    check_same(model, X)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 6 * 8 * MAX_KNOWN


def test_the_sum_of_known_values_is_bounded() -> None:
    with pytest.raises(TooLargeError, match="known without images has more than"):
        by_jax(chain(20), X)


def padded(mode: str, after: int) -> Any:
    return model_of([node("Pad", "x", "p", "y", mode=mode)], ["N", 1, 4, 4], {"p": np.array([0] * 7 + [after])}, 19)


@pytest.mark.parametrize(("mode", "most"), [("reflect", 3), ("wrap", 4)])
def test_padding_does_not_go_through_an_image_again_and_again(mode: str, most: int) -> None:
    check_same(padded(mode, most), X)
    with pytest.raises(UnsupportedError, match="of more than there is"):
        by_jax(padded(mode, most + 1), X)


def pooled(name: str, **attributes: Any) -> Any:
    return model_of([node(name, "x", "y", **attributes)], ["N", 1, 4, 4], opset=19)


def traced(model: Any) -> str:
    """The program of a model, as text; it is not run."""
    graph, weights = onnx_graph.graph_of(model, "x", "y", numpy_helper.to_array, model.ByteSize())
    return str(jax.make_jaxpr(lambda x: onnx_network.run(graph, weights, x))(X))


REFUSED: dict[str, dict[str, Any]] = {
    "a window of 3 over 4": {"kernel_shape": [3, 3], "pads": [3, 0, 0, 0]},
    "a window of 2 over 4": {"kernel_shape": [2, 2], "pads": [2] * 4, "dilations": [2, 2]},
    "a window of 5 over 4": {"kernel_shape": [5, 5]},
    "windows of": {"kernel_shape": [2000, 2000], "pads": [1999] * 4},
}


@pytest.mark.parametrize("reason", REFUSED)
@pytest.mark.parametrize("name", ["MaxPool", "AveragePool"])
def test_windows_are_bounded_by_the_image(name: str, reason: str) -> None:
    model = pooled(name, **REFUSED[reason])
    with pytest.raises(UnsupportedError, match=reason):
        traced(model)


def test_an_image_s_share_of_a_window_is_not_summed_again() -> None:
    """XLA would compute a pooling of ones when it compiles, however large its windows are."""
    assert traced(pooled("AveragePool", kernel_shape=[3, 3], pads=[1] * 4)).count("reduce_window") == 1

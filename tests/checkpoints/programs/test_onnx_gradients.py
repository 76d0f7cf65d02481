"""Gradients where operators have a corner: those that torch gives, and never NaN."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from tests.checkpoints.programs.onnx_models import helper, model_of, numpy_helper
from xray_jax.checkpoints.programs import onnx_graph, onnx_network

torch = pytest.importorskip("torch", reason="its gradients are those to agree with (extra `test`)")

CORNERS = np.array([[0, 0, 6, -1, 3, 7]], np.float32)
ZEROS = np.zeros((1, 6), np.float32)
Case = tuple[str, dict[str, Any], dict[str, np.ndarray], np.ndarray, Callable[[Any], Any]]
"""Operator, attributes, the other inputs, the input, the same in torch."""

CASES: dict[str, Case] = {
    "Relu": ("Relu", {}, {}, CORNERS, torch.relu),
    "ReLU6": ("Clip", {}, {"low": np.float32(0), "high": np.float32(6)}, CORNERS, torch.nn.functional.relu6),
    "norm of zeros": ("ReduceL2", {"axes": [1]}, {}, ZEROS, lambda x: torch.linalg.vector_norm(x, dim=1)),
    "norm": ("ReduceL2", {"axes": [1]}, {}, CORNERS, lambda x: torch.linalg.vector_norm(x, dim=1)),
    "normalised": ("LpNormalization", {"axis": 1}, {}, CORNERS, torch.nn.functional.normalize),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_at_corners_are_those_of_torch(name: str) -> None:
    operator, attributes, others, x, function = CASES[name]
    model = model_of([helper.make_node(operator, ["x", *others], ["y"], **attributes)], ["N", 6], others)
    factors = np.arange(1, 7, dtype=np.float32)
    images = torch.tensor(x, requires_grad=True)
    made = function(images)
    (made * torch.tensor(factors[: made.shape[-1]])).sum().backward()
    np.testing.assert_allclose(gradient(model, x, factors[None, : made.shape[-1]]), images.grad.numpy(), atol=1e-6)


def test_a_vector_of_zeros_that_is_normalised_has_a_gradient() -> None:
    model = model_of([helper.make_node("LpNormalization", ["x"], ["y"], axis=1)], ["N", 6])
    np.testing.assert_array_equal(gradient(model, ZEROS, np.ones((1, 6), np.float32)), ZEROS)


def gradient(model: Any, x: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Of what the program makes of x, times `factors`."""
    graph, weights = onnx_graph.graph_of(model, "x", "y", numpy_helper.to_array, model.ByteSize())
    return np.asarray(jax.grad(lambda x: (factors * onnx_network.run(graph, weights, x)).sum())(x))

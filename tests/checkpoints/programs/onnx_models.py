"""Small ONNX models for tests: one operator, or a few in a row, by onnxruntime and as JAX programs."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pytest

from xray_jax.checkpoints.programs import onnx_graph, onnx_network

onnx = pytest.importorskip("onnx", reason="onnx writes the files that are read here (extra `test`)")
pytest.importorskip("onnxruntime", reason="extra `onnx`")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

FLOAT = TensorProto.FLOAT


def tensor(name: str, shape: Sequence[Any] | None, kind: int = FLOAT) -> Any:
    """An input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(
    nodes: Sequence[Any],
    shape: Sequence[Any],
    constants: dict[str, Any] | None = None,
    opset: int = 17,
    output: str = "y",
    kind: int = FLOAT,
) -> Any:
    """A model of nodes that make `output` of "x"."""
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "net", [tensor("x", shape)], [tensor(output, None, kind)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def by_onnxruntime(model: Any, x: np.ndarray, output: str = "y") -> np.ndarray:
    """What onnxruntime makes of x."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run([output], {"x": x})[0]
    return found


def by_jax(model: Any, x: np.ndarray, output: str = "y") -> np.ndarray:
    """The same as a JAX program."""
    graph, weights = onnx_graph.graph_of(model, "x", output, numpy_helper.to_array, model.ByteSize())
    program = jax.jit(lambda weights, x: onnx_network.run(graph, weights, x))
    return np.asarray(program(weights, x))


def check_same(model: Any, x: np.ndarray, output: str = "y") -> None:
    """Asserts that both make the same."""
    wanted, found = by_onnxruntime(model, x, output), by_jax(model, x, output)
    assert wanted.shape == found.shape
    np.testing.assert_allclose(found.astype(np.float64), wanted.astype(np.float64), rtol=2e-5, atol=2e-5)

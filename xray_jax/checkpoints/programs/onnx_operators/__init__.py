"""The standard ONNX operators of image classifiers as JAX functions: a table, one file an idea.

Ours, because no converter is kept up: the last release of `jaxonnxruntime` on PyPI, 0.3.0, is of August 2023, and its
extra asks for onnx 1.12. Each operator is tested against onnxruntime (`tests/checkpoints/programs/`), in those versions
from `FIRST_OPSET` to `LATEST_OPSET` that differ.
"""

from xray_jax.checkpoints.programs.onnx_operators import (
    activations,
    convolution,
    elementwise,
    indexing,
    normalisation,
    pooling,
    products,
    reduction,
    resizing,
    shape,
    types,
)
from xray_jax.checkpoints.programs.onnx_operators.node import Table

FIRST_OPSET, LATEST_OPSET = 7, 26
"""Versions of the standard operators that the table honours."""

TABLE: Table = {
    **elementwise.OPERATORS,
    **activations.OPERATORS,
    **convolution.OPERATORS,
    **pooling.OPERATORS,
    **normalisation.OPERATORS,
    **reduction.OPERATORS,
    **products.OPERATORS,
    **shape.OPERATORS,
    **indexing.OPERATORS,
    **types.OPERATORS,
    **resizing.OPERATORS,
}
"""Name of an operator -> how it is computed."""

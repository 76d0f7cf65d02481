"""The operators of the table, one by one, against onnxruntime: in each version that differs, at the odd settings."""

from typing import Any

import numpy as np
import pytest

from tests.checkpoints.programs.onnx_models import TensorProto, check_same, helper, model_of
from xray_jax.checkpoints.programs.onnx_operators import TABLE

onnxruntime = pytest.importorskip("onnxruntime", reason="extra `onnx`")

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 4, 7, 6)).astype(np.float32)
ROWS = RNG.normal(size=(3, 8)).astype(np.float32)
UNIT = RNG.uniform(0.1, 0.9, size=(3, 8)).astype(np.float32)


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


Case = tuple[str, dict[str, Any], int, np.ndarray, list[Any]]
"""Operator, attributes, opset, the first input, the others (None: left out)."""

ELEMENTWISE: list[Case] = [
    *[(name, {}, 13, ROWS, []) for name in (
        "Abs", "Neg", "Ceil", "Floor", "Sign", "Exp", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh", "Tanh",
        "Erf", "Round",
    )],
    *[(name, {}, 13, UNIT, []) for name in ("Log", "Sqrt", "Asin", "Acos", "Atanh", "Reciprocal")],
    ("Acosh", {}, 13, UNIT + 1, []),
    *[(name, {}, 13, ROWS, [weights(8)]) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean")],
    ("Add", {}, 7, IMAGES, [weights(4, 1, 1)]),
    ("Mul", {}, 14, ROWS, [weights(2, 1, 8)]),
    ("Pow", {}, 13, UNIT, [np.float32(2)]),
    ("Pow", {}, 15, UNIT, [ints(3)]),
    ("Pow", {}, 13, UNIT, [weights(8)]),
    ("Mod", {"fmod": 1}, 13, ROWS, [weights(8)]),
    ("Max", {}, 13, ROWS, [weights(8), weights(3, 1)]),
    ("Mean", {}, 8, ROWS, [weights(8), weights(3, 1)]),
]  # fmt: skip
ACTIVATIONS: list[Case] = [
    *[(name, {}, 13, 3 * ROWS, []) for name in (
        "Relu", "Sigmoid", "Softplus", "Softsign", "Elu", "Selu", "Celu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid",
    )],
    ("HardSwish", {}, 14, 4 * ROWS, []), ("Mish", {}, 18, ROWS, []),
    ("Swish", {"alpha": 0.7}, 24, ROWS, []),
    ("Gelu", {}, 20, ROWS, []), ("Gelu", {"approximate": "tanh"}, 20, ROWS, []),
    ("Elu", {"alpha": 0.3}, 7, ROWS, []), ("Celu", {"alpha": 2.0}, 12, ROWS, []),
    ("Selu", {"alpha": 1.1, "gamma": 0.9}, 7, ROWS, []), ("LeakyRelu", {"alpha": 0.2}, 7, ROWS, []),
    ("ThresholdedRelu", {"alpha": 0.2}, 10, ROWS, []), ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}, 7, ROWS, []),
    ("PRelu", {}, 9, IMAGES, [weights(4, 1, 1)]),
    ("Clip", {"min": -0.5, "max": 0.5}, 7, ROWS, []), ("Clip", {"max": 0.5}, 10, ROWS, []),
    ("Clip", {}, 11, ROWS, [np.float32(-0.5), np.float32(0.5)]), ("Clip", {}, 13, ROWS, [None, np.float32(0.5)]),
    ("Clip", {}, 13, ROWS, [np.float32(0)]),
    *[(name, {}, opset, IMAGES, []) for name in ("Softmax", "LogSoftmax") for opset in (7, 12, 13)],
    ("Softmax", {"axis": 2}, 11, IMAGES, []), ("Softmax", {"axis": -2}, 13, IMAGES, []),
]  # fmt: skip
CONVOLUTIONS: list[Case] = [
    ("Conv", {}, 11, IMAGES, [weights(5, 4, 3, 3), weights(5)]),
    ("Conv", {"pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}, 11, IMAGES, [weights(5, 4, 3, 2)]),
    ("Conv", {"group": 2, "kernel_shape": [3, 3]}, 7, IMAGES, [weights(6, 2, 3, 3)]),
    ("Conv", {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}, 22, IMAGES, [weights(4, 1, 3, 3), weights(4)]),
    ("Conv", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, 11, IMAGES, [weights(3, 4, 4, 4)]),
    ("Conv", {"auto_pad": "VALID"}, 11, IMAGES, [weights(3, 4, 2, 2)]),
    ("Conv", {"pads": [1, 1]}, 11, IMAGES[:, :, 0], [weights(3, 4, 3)]),
    ("Conv", {}, 11, IMAGES[:, :, None], [weights(3, 4, 1, 3, 3)]),
    ("ConvTranspose", {"strides": [2, 2], "pads": [1, 1, 0, 1], "output_padding": [1, 0]}, 11, IMAGES,
     [weights(4, 3, 3, 2), weights(3)]),
    ("ConvTranspose", {"group": 2, "dilations": [2, 1]}, 11, IMAGES, [weights(4, 3, 2, 2)]),
]  # fmt: skip
POOLINGS: list[Case] = [
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}, 8, IMAGES, []),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}, 10, IMAGES, []),
    ("MaxPool", {"kernel_shape": [2, 3], "dilations": [2, 1]}, 12, IMAGES, []),
    ("MaxPool", {"kernel_shape": [3, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2]}, 12, IMAGES, []),
    ("MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"}, 12, IMAGES, []),
    ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}, 7, IMAGES, []),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}, 11, IMAGES, []),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, 11, IMAGES, []),
    *[("AveragePool", {"kernel_shape": [3, 3], "pads": pads, "strides": [2, 2], "ceil_mode": 1,
       "count_include_pad": counted}, 19, IMAGES, []) for pads in ([0, 0, 0, 0], [1, 1, 1, 1]) for counted in (0, 1)],
    ("AveragePool", {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1}, 19, IMAGES, []),
    ("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, 19, IMAGES, []),
    ("AveragePool", {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}, 11, IMAGES, []),
    *[(name, {"kernel_shape": [9, 8], "pads": [3, 4, 2, 1], **more}, 19, IMAGES, [])
      for name, more in (("MaxPool", {}), ("AveragePool", {}), ("AveragePool", {"count_include_pad": 1}))],
    ("AveragePool", {"kernel_shape": [2, 3], "pads": [1, 2, 1, 1], "dilations": [3, 2], "strides": [2, 1]}, 19, IMAGES,
     []),
    ("GlobalAveragePool", {}, 7, IMAGES, []), ("GlobalMaxPool", {}, 7, IMAGES, []),
]  # fmt: skip
VARIANCE = RNG.uniform(0.5, 2, 4).astype(np.float32)
NORMS: list[Case] = [
    *[("BatchNormalization", {"epsilon": 1e-3, "momentum": 0.9}, opset, IMAGES,
       [weights(4), weights(4), weights(4), VARIANCE]) for opset in (7, 9, 14, 15)],
    ("BatchNormalization", {}, 9, ROWS[:, :4], [weights(4), weights(4), weights(4), VARIANCE]),
    ("InstanceNormalization", {}, 7, IMAGES, [weights(4), weights(4)]),
    ("LayerNormalization", {}, 17, IMAGES, [weights(6), weights(6)]),
    ("LayerNormalization", {"axis": 2, "epsilon": 1e-2}, 17, IMAGES, [weights(7, 6)]),
    ("GroupNormalization", {"num_groups": 2}, 21, IMAGES, [weights(4), weights(4)]),
    ("LRN", {"size": 3, "alpha": 0.1, "beta": 0.5, "bias": 2.0}, 13, IMAGES, []), ("LRN", {"size": 5}, 7, IMAGES, []),
    ("LRN", {"size": 15, "alpha": 2.0}, 13, IMAGES, []),
    ("LpNormalization", {}, 7, ROWS, []), ("LpNormalization", {"p": 1, "axis": 1}, 7, IMAGES, []),
    ("RMSNormalization", {"axis": -1}, 23, ROWS, [weights(8)]),
]  # fmt: skip
REDUCTIONS: list[Case] = [
    *[(name, {"axes": [1, -1], "keepdims": 0}, 11, np.abs(IMAGES), []) for name in TABLE if name.startswith("Reduce")],
    *[(name, {}, 18, np.abs(IMAGES), [ints(2, 3)]) for name in TABLE if name.startswith("Reduce")],
    ("ReduceMean", {}, 11, IMAGES, []), ("ReduceSum", {"keepdims": 0}, 13, IMAGES, [ints(1)]),
    ("ReduceSum", {"noop_with_empty_axes": 1}, 13, IMAGES, []),
    *[(name, {"noop_with_empty_axes": 1}, 18, np.abs(IMAGES), axes) for name in TABLE if name.startswith("Reduce")
      for axes in ([], [ints()])],
    *[(name, {}, 18, np.abs(IMAGES), [ints()]) for name in TABLE if name.startswith("Reduce")],
]  # fmt: skip
PRODUCTS: list[Case] = [
    ("MatMul", {}, 13, ROWS, [weights(8, 5)]), ("MatMul", {}, 9, IMAGES, [weights(6, 5)]),
    ("MatMul", {}, 13, IMAGES, [weights(2, 1, 6, 5)]), ("MatMul", {}, 13, ROWS, [weights(8)]),
    ("Gemm", {"transB": 1}, 11, ROWS, [weights(5, 8), weights(5)]),
    ("Gemm", {"alpha": 0.5, "beta": 2.0, "transA": 1}, 13, ROWS, [weights(3, 5), weights(8, 1)]),
    ("Gemm", {}, 13, ROWS, [weights(8, 5)]), ("Gemm", {}, 7, ROWS, [weights(8, 5), weights(1, 5)]),
    ("Einsum", {"equation": "bchw,cd->bdhw"}, 12, IMAGES, [weights(4, 3)]),
]  # fmt: skip
SHAPES: list[Case] = [
    ("Reshape", {}, 13, IMAGES, [ints(0, -1)]), ("Reshape", {}, 5 + 2, IMAGES, [ints(2, 0, 42)]),
    ("Reshape", {"allowzero": 1}, 14, IMAGES, [ints(2, 168)]),
    ("Flatten", {}, 9, IMAGES, []), ("Flatten", {"axis": -2}, 13, IMAGES, []), ("Flatten", {"axis": 0}, 13, IMAGES, []),
    ("Transpose", {}, 13, IMAGES, []), ("Transpose", {"perm": [0, 2, 3, 1]}, 7, IMAGES, []),
    ("Squeeze", {"axes": [1, -1]}, 11, IMAGES[:, :1, :, :1], []), ("Squeeze", {}, 13, IMAGES[:, :1], [ints(1)]),
    ("Squeeze", {}, 13, IMAGES[:, :1], [ints()]), ("Squeeze", {}, 13, IMAGES[:, :1], []),
    ("Unsqueeze", {"axes": [0, 3]}, 11, ROWS, []),
    ("Unsqueeze", {}, 13, ROWS, [ints(-1, 0)]), ("Expand", {}, 13, IMAGES[:, :, :1], [ints(1, 7, 1)]),
    ("Tile", {}, 13, ROWS, [ints(1, 3)]), ("Identity", {}, 13, ROWS, []), ("Dropout", {"ratio": 0.3}, 7, ROWS, []),
    ("Dropout", {}, 13, ROWS, [np.float32(0.3)]),
    *[("DepthToSpace", {"blocksize": 2, "mode": mode}, 13, IMAGES, []) for mode in ("DCR", "CRD")],
    ("SpaceToDepth", {"blocksize": 2}, 13, IMAGES[:, :, :6], []),
    ("Slice", {"starts": [1, -3], "ends": [3, 1000], "axes": [1, 3]}, 9, IMAGES, []),
    ("Slice", {}, 13, IMAGES, [ints(-1, 5), ints(-100, 0), ints(2, 3), ints(-2, -1)]),
    ("Slice", {}, 11, IMAGES, [ints(0, 1), ints(2**63 - 1, -1)]), ("Slice", {}, 13, ROWS, [ints(6), ints(2), ints(1)]),
    ("Gather", {"axis": 1}, 13, IMAGES, [ints(3, -1)]), ("Gather", {"axis": 2}, 11, IMAGES, [np.int64(-1)]),
    ("Gather", {"axis": 1}, 13, ROWS, [np.array([[0, 7], [-8, 3]])]),
    ("Concat", {"axis": -1}, 13, ROWS, [weights(3, 2), weights(3, 1)]), ("Concat", {"axis": 1}, 7, ROWS, [ROWS]),
    ("Pad", {"pads": [0, 1, 0, 2], "value": 0.5}, 10, ROWS, []), ("Pad", {}, 13, ROWS, [ints(0, 1, 0, -2)]),
    ("Pad", {}, 18, IMAGES, [ints(1, 2, 0, 1), np.float32(-1), ints(-1, 2)]),
    *[("Pad", {"mode": mode}, 19, IMAGES, [ints(0, 0, 1, 2, 0, 0, 2, 1)]) for mode in ("reflect", "edge", "wrap")],
    ("Cast", {"to": TensorProto.FLOAT}, 13, ROWS, []), ("Cast", {"to": TensorProto.BOOL}, 13, np.round(ROWS), []),
    ("CastLike", {}, 15, ROWS, [weights(1)]),
]  # fmt: skip
RESIZES: list[Case] = [
    ("Upsample", {"scales": [1.0, 1.0, 2.0, 3.0]}, 7, IMAGES, []),
    ("Upsample", {"mode": "linear"}, 9, IMAGES, [np.float32([1, 1, 2, 2])]),
    ("Resize", {}, 10, IMAGES, [np.float32([1, 1, 1.7, 0.6])]),
    ("Resize", {"mode": "linear"}, 10, IMAGES, [np.float32([1, 1, 2, 1.5])]),
    *[("Resize", {"mode": mode, "coordinate_transformation_mode": kind}, 13, IMAGES, [None, np.float32([1, 1, 2, 1.5])])
      for mode in ("nearest", "linear")
      for kind in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")],
    *[("Resize", {"nearest_mode": to, "coordinate_transformation_mode": "asymmetric"}, 11, IMAGES,
       [np.float32([]), np.float32([]), ints(2, 4, 10, 5)])
      for to in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")],
    ("Resize", {"mode": "linear", "axes": [2, 3]}, 18, IMAGES, [None, None, ints(14, 3)]),
]  # fmt: skip

CASES = [*ACTIVATIONS, *CONVOLUTIONS, *POOLINGS, *NORMS, *PRODUCTS, *SHAPES]
MORE_CASES = [*ELEMENTWISE, *REDUCTIONS, *RESIZES]


def named(cases: list[Case]) -> list[Any]:
    """Each case under its place, operator and opset."""
    return [pytest.param(case, id=f"{place}-{case[0]}-{case[2]}") for place, case in enumerate(cases)]


def check(case: Case) -> None:
    name, attributes, opset, x, others = case
    if opset > 22 and tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 24):
        pytest.skip("this onnxruntime has no operators of opset 23")
    given = {f"c{number}": value for number, value in enumerate(others) if value is not None}
    names = ["x", *("" if value is None else f"c{number}" for number, value in enumerate(others))]
    node = helper.make_node(name, names, ["y"], **attributes)
    kind = attributes.get("to", TensorProto.FLOAT)
    check_same(model_of([node], ["N", *x.shape[1:]], given, opset, kind=kind), x)


@pytest.mark.parametrize("case", named(CASES))
def test_operators_compute_what_onnxruntime_does(case: Case) -> None:
    check(case)


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", named(MORE_CASES))
def test_many_alike_compute_what_onnxruntime_does(case: Case) -> None:
    check(case)


def test_every_operator_is_tested() -> None:
    """Elsewhere: below, and in `test_onnx_graph` those of known values."""
    elsewhere = {
        "Shape", "Size", "ConstantOfShape", "Range", "NonZero", "Where", "Not", "IsNaN", "IsInf", "Equal", "Greater",
        "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor", "ArgMax", "ArgMin", "Split",
    }  # fmt: skip
    assert {case[0] for case in [*CASES, *MORE_CASES]} | elsewhere == set(TABLE)


def test_conditions_and_places() -> None:
    """Operators on and of truth values and places, in one graph, whose outputs are added up as floats."""
    y = helper.make_node
    pairs = ["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"]
    nodes = [y(name, ["x", "w"], [name]) for name in pairs]
    nodes += [y(name, ["Greater", "Equal"], [name]) for name in ("And", "Or", "Xor")]
    nodes += [
        y("Not", ["Greater"], ["Not"]),
        y("Div", ["x", "zeros"], ["infinite"]),
        y("IsInf", ["infinite"], ["IsInf"], detect_negative=0),
        y("IsNaN", ["infinite"], ["IsNaN"]),
        y("Where", ["Greater", "x", "w"], ["Where"]),
        y("ArgMax", ["x"], ["ArgMax"], axis=1),
        y("ArgMin", ["x"], ["ArgMin"], axis=-1, select_last_index=1),
        y("Size", ["x"], ["Size"]),
    ]
    made = [node.output[0] for node in nodes if node.output[0] != "infinite"]
    nodes += [y("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT) for name in made]
    weighted = [y("Mul", [f"{name}_f", f"{name}_w"], [f"{name}_t"]) for name in made]
    constants = {f"{name}_w": np.float32(2**place) for place, name in enumerate(made)}
    total = y("Sum", [f"{name}_t" for name in made], ["y"])
    x = np.round(2 * ROWS)
    constants |= {"w": np.round(2 * weights(8)), "zeros": np.float32([0, 1, 0, 1, 0, 1, 0, 1])}
    check_same(model_of([*nodes, *weighted, total], ["N", 8], constants, 13), x)


@pytest.mark.parametrize(
    ("opset", "attributes", "sizes"),
    [
        (11, {"split": [3, 5, 0]}, None),
        (7, {"axis": 0}, None),
        (13, {"axis": -1}, ints(1, 2, 5)),
        (18, {"num_outputs": 3, "axis": 1}, None),
    ],
)
def test_parts(opset: int, attributes: dict[str, Any], sizes: Any) -> None:
    x, given = (ROWS.T, {}) if "split" in attributes else (ROWS, {} if sizes is None else {"sizes": sizes})
    nodes = [
        helper.make_node("Split", ["x", *given], ["a", "b", "c"], **attributes),
        helper.make_node("Concat", ["c", "a", "b"], ["y"], axis=attributes.get("axis", 0)),
    ]
    check_same(model_of(nodes, list(x.shape), given, opset), x)

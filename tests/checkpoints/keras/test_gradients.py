"""Gradients of a Keras graph with respect to the image, for every layer and activation that it may be made of."""

from typing import Any

import numpy as np
import pytest

from tests import gradients
from xray_jax.checkpoints.keras import graph
from xray_jax.checkpoints.keras.activations import FUNCTIONS
from xray_jax.checkpoints.keras.network import LAYERS

SHAPE = (9, 8, 3)
CONFIGS: dict[str, list[dict[str, Any]]] = {
    "Conv2D": [{"filters": 4, "kernel_size": 3}, {"filters": 6, "kernel_size": 3, "groups": 3, "dilation_rate": 2}],
    "DepthwiseConv2D": [{"kernel_size": 3, "depth_multiplier": 2, "strides": 2, "padding": "same"}],
    "SeparableConv2D": [{"filters": 4, "kernel_size": 3}],
    "Dense": [{"units": 4}],
    "BatchNormalization": [{}],
    "LayerNormalization": [{}, {"axis": [1, 3]}, {"rms_scaling": True}],
    "GroupNormalization": [{"groups": 3}, {"groups": 3, "axis": 1}],
    "Normalization": [{}, {"axis": None, "mean": 0.5, "variance": 0.3, "invert": True}],
    "Rescaling": [{"scale": 0.5, "offset": -1.0}],
    "ReLU": [{"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}],
    "LeakyReLU": [{}],
    "ThresholdedReLU": [{"theta": 0.1}],
    "ELU": [{}],
    "PReLU": [{}],
    "Softmax": [{}],
    "Activation": [{"activation": name} for name in FUNCTIONS],
    "MaxPooling2D": [{}, {"pool_size": 3, "strides": 2, "padding": "same"}],
    "AveragePooling2D": [{}, {"pool_size": 3, "strides": 2, "padding": "same"}],
    "GlobalAveragePooling2D": [{}],
    "GlobalMaxPooling2D": [{}],
    "Mean": [{"axis": [1, 2]}, {"axis": -1, "keepdims": True}],
    "Flatten": [{}],
    "Reshape": [{"target_shape": [4, -1, 3]}],
    "Permute": [{"dims": [3, 1, 2]}],
    "ZeroPadding2D": [{"padding": 1}],
    "Cropping2D": [{"cropping": 1}],
    "UpSampling2D": [{"size": 2}, {"size": 2, "interpolation": "bilinear"}],
    "Resizing": [{"height": 5, "width": 12}, {"height": 5, "width": 4, "antialias": True}],
}
MERGES = ("Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "Average", "Concatenate")


def _layer(kind: str, name: str, inputs: list[str], **config: Any) -> dict[str, Any]:
    called = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": called}


def _check(kind: str, config: dict[str, Any], merges: bool = False) -> None:
    """A model of a dense layer, the layer (between two branches where it merges) and a linear head."""
    layers = [
        _layer("InputLayer", "images", [], batch_shape=[None, *SHAPE]),
        _layer("Dense", "left", ["images"], units=3),
        _layer("Dense", "right", ["images"], units=3),
        _layer(kind, "layer", ["left", "right"] if merges else ["left"], **config),
        _layer("Flatten", "flat", ["layer"]),
        _layer("Dense", "head", ["flat"], units=4),
    ]
    ends = {"input_layers": [["images", 0, 0]], "output_layers": [["head", 0, 0]]}
    network = graph.build({"class_name": "Functional", "config": {"layers": layers, **ends}}, keras=3).network
    random = np.random.default_rng(0)
    weights = {
        key: {
            name: random.uniform(0.5, 2, shape) if "variance" in name else random.normal(0, 0.5, shape)
            for name, shape in shapes.items()
        }
        for key, shapes in network.expected()[0].items()
    }
    # These layers compute in single precision, so differences need a longer step.
    step, tolerance = (1e-2, 2e-2) if kind in ("LayerNormalization", "GroupNormalization") else (1e-6, 1e-5)
    gradients.check(network, weights, random.normal(0.3, 1, size=(1, *SHAPE)), step, tolerance)


def test_every_layer_is_here() -> None:
    assert CONFIGS.keys() | set(MERGES) == LAYERS.keys()


@pytest.mark.parametrize(("kind", "config"), [(kind, config) for kind, every in CONFIGS.items() for config in every])
def test_gradient_of_a_layer(kind: str, config: dict[str, Any]) -> None:
    _check(kind, config)


@pytest.mark.parametrize("kind", MERGES)
def test_gradient_of_a_merge(kind: str) -> None:
    _check(kind, {}, merges=True)

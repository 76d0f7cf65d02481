"""Pooling windows as long as the image and longer: the numbers are Keras's, and the work is bounded."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.checkpoints.keras.test_keras import L, assert_reads_as, sequential
from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.keras.layer_config import MAX_EXTENT
from xray_jax.checkpoints.keras.network import LAYERS
from xray_jax.checkpoints.loading import load


@pytest.mark.parametrize("kind", ["MaxPooling2D", "AveragePooling2D"])
@pytest.mark.parametrize(
    ("size", "strides", "padding"),
    [
        ((9, 8), None, "valid"),
        ((9, 8), 1, "same"),
        ((10, 15), 1, "same"),
        ((17, 16), 2, "same"),
        ((18, 17), 3, "same"),
        ((19, 40), (1, 5), "same"),
        ((100, 3), (100, 2), "same"),
    ],
)
def test_long_windows_compute_what_keras_computes(kind, size, strides, padding, tmp_path):
    layer = getattr(L, kind)(size, strides=strides, padding=padding)
    assert_reads_as(sequential(layer), tmp_path / "model.keras")


def windows(size, strides, padding, shape):
    """The windows of the pooling in the traced program, and nothing is computed."""
    config = {"size": [size] * 2, "strides": [strides] * 2, "padding": padding, "data_format": "channels_last"}
    program = jax.make_jaxpr(lambda x: LAYERS["AveragePooling2D"].compute(config, {}, [x]))(jnp.zeros(shape))
    return [eqn.params["window_dimensions"] for eqn in program.eqns if "window_dimensions" in eqn.params]


def test_a_window_is_at_most_twice_the_image():
    assert windows(MAX_EXTENT, MAX_EXTENT, "same", (1, 9, 8, 3)) == [(1, 18, 16, 1)] * 2
    assert windows(3, 2, "same", (1, 9, 8, 3)) == [(1, 3, 3, 1)] * 2


def test_work_beyond_any_classifier_is_refused(tmp_path):
    model = sequential(L.AveragePooling2D(300, strides=1, padding="same"), shape=(300, 300, 3))
    model.save(tmp_path / "model.keras")
    with pytest.raises(CheckpointError, match="steps an image, more than"):
        load(tmp_path / "model.keras")


def test_a_large_usual_pooling_is_not():
    assert windows(3, 2, "same", (1, 384, 384, 64))
    assert windows(112, 112, "valid", (1, 112, 112, 1024))
    assert np.prod(windows(13, 1, "same", (1, 64, 64, 256))[0]) == 169

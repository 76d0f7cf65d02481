"""Functions of `keras.ops` in a model, with their options, against Keras itself."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import pytest

from tests.checkpoints.keras.test_keras import L, assert_reads_as, randomise, reference
from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.loading import load

ops, activations = reference.ops, reference.activations
OPERATIONS = {
    "mean of an image": lambda x: ops.mean(x, axis=(1, 2)),
    "mean of channels": lambda x: ops.mean(x, axis=-1, keepdims=True),
    "leaky relu": lambda x: ops.leaky_relu(x, 0.3),
    "softmax of rows": lambda x: activations.softmax(x, axis=1),
    "softmax": lambda x: ops.softmax(x),
    "capped relu": lambda x: activations.relu(x, max_value=0.5),
}


def around(operation):
    image = L.Input((9, 8, 3))
    return randomise(reference.Model(image, L.Dense(4)(L.Flatten()(operation(L.Conv2D(3, 2)(image))))))


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_computes_what_keras_computes(name, suffix, tmp_path):
    assert_reads_as(around(OPERATIONS[name]), tmp_path / f"model.{suffix}")


REFUSED = {
    "mean of the batch": (lambda x: x - ops.mean(x, axis=0, keepdims=True), "over the images of a batch"),
    "mean of all": (lambda x: x - ops.mean(x), "axis is 'None'"),
    "softmax of all": (lambda x: ops.reshape(ops.softmax(x, axis=None), (-1, 8, 7, 3)), "axis is 'None'"),
    "tanh gelu": (lambda x: ops.gelu(x), "Gelu.*is not supported|is a Gelu"),
}


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name, suffix, tmp_path):
    operation, match = REFUSED[name]
    around(operation).save(tmp_path / f"model.{suffix}")
    with pytest.raises(CheckpointError, match=match):
        load(tmp_path / f"model.{suffix}")


def test_the_average_that_is_no_layer(tmp_path):
    around(lambda x: ops.average(x, axis=1)).save(tmp_path / "model.h5")
    with pytest.raises(CheckpointError, match="axis=1 is not supported"):
        load(tmp_path / "model.h5")

"""A Keras network that ends in a softmax puts out the logits before it, whatever form the softmax has."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import numpy as np
import pytest

from tests.checkpoints.keras.test_keras import L, assert_reads_as, randomise, reference
from xray_jax.checkpoints.loading import load


def operation(*, nested):
    """`keras.ops.softmax` as the last call of a model, or of a model in the model."""
    image = L.Input((9, 8, 3))
    scores = L.Dense(4)(L.Flatten()(image))
    if nested:
        row = L.Input((4,))
        return reference.Model(image, reference.Model(row, reference.ops.softmax(row))(scores))
    return reference.Model(image, reference.ops.softmax(scores))


def sequential(*layers):
    return reference.Sequential([L.Input((9, 8, 3)), *layers])


def convolutional(*layers):
    return sequential(L.GlobalAveragePooling2D(keepdims=True), L.Conv2D(4, 1, activation="softmax"), *layers)


ENDS = {
    "activation of the last layer": lambda: sequential(L.Flatten(), L.Dense(4, activation="softmax")),
    "layer as the activation": lambda: sequential(L.Flatten(), L.Dense(4, activation=L.Softmax())),
    "Activation": lambda: sequential(L.Flatten(), L.Dense(4), L.Activation("softmax")),
    "Softmax": lambda: sequential(L.Flatten(), L.Dense(4), L.Softmax()),
    "Softmax, dropout, linear": lambda: sequential(
        L.Flatten(), L.Dense(4), L.Softmax(axis=1), L.Dropout(0.1), L.Activation("linear")
    ),
    "convolution": lambda: convolutional(L.Flatten()),
    "MobileNet": lambda: convolutional(L.Activation("linear"), L.Reshape((4,))),
    "operation": lambda: operation(nested=False),
    "nested operation": lambda: operation(nested=True),
}


@pytest.mark.parametrize("name", ENDS)
def test_scores_are_logits(name, tmp_path):
    read = assert_reads_as(randomise(ENDS[name]()), tmp_path / "model.keras", through=jax.nn.softmax)
    images = np.random.default_rng(2).normal(0.3, 1.0, (5, 9, 8, 3)).astype(np.float32)
    sums = np.asarray(read.network.apply(read.variables, images)).sum(1)
    assert np.abs(sums - 1).min() > 1e-3, "these are probabilities"


def test_with_and_without_it_a_model_is_the_same(tmp_path):
    model = randomise(ENDS["activation of the last layer"]())
    model.save(tmp_path / "with.keras")
    model.layers[-1].activation = reference.activations.linear
    model.save(tmp_path / "without.keras")
    left_out, absent = load(tmp_path / "with.keras"), load(tmp_path / "without.keras")
    assert left_out.network == absent.network
    images = np.random.default_rng(2).normal(0.3, 1.0, (5, 9, 8, 3)).astype(np.float32)
    scores = [np.asarray(read.network.apply(read.variables, images)) for read in (left_out, absent)]
    np.testing.assert_array_equal(*scores)


def test_two_in_a_row_are_both_left_out(tmp_path):
    model = randomise(sequential(L.Flatten(), L.Dense(4, activation="softmax"), L.Softmax()))

    def twice(scores):
        return jax.nn.softmax(jax.nn.softmax(scores))

    assert_reads_as(model, tmp_path / "model.keras", through=twice)


KEPT = {
    "over some of the numbers": lambda: sequential(L.Conv2D(2, 8), L.Softmax(axis=1), L.Flatten()),
    "over the channels of many places": lambda: sequential(L.Conv2D(2, 8, activation="softmax"), L.Flatten()),
    "before another layer": lambda: sequential(L.Flatten(), L.Dense(4, activation="softmax"), L.Rescaling(3.0)),
    "another activation": lambda: sequential(L.Flatten(), L.Dense(4, activation="softmax"), L.Activation("tanh")),
}


@pytest.mark.parametrize("name", KEPT)
def test_any_other_softmax_is_computed(name, tmp_path):
    assert_reads_as(randomise(KEPT[name]()), tmp_path / "model.keras")

"""What weights leave open is answered by clean samples, or by the user."""

import dataclasses

import jax
import numpy as np
import pytest

from xray_jax import checkpoints, samples
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.loading import classifier
from xray_jax.detectors.planes.scan import Scanner
from xray_jax.inference.labels import label_images
from xray_jax.models import plain, published
from xray_jax.prepare.variant import choose_variant

SHAPE = (32, 32, 3)
TRUE = plain.small((8, 8), 5, (16,), padding=2, pool="avg", activation="tanh")(num_classes=5)


def _tensors(network=TRUE, shape=SHAPE) -> Tensors:
    """Random weights, large enough that another activation gives other labels."""
    random = np.random.default_rng(0)
    images = jax.ShapeDtypeStruct((1, *shape), np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), images)
    variables = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)
    return Tensors(published.to_tensors(variables), size=1 << 20)


def _labelled(tensors: Tensors, network=TRUE, shape=SHAPE) -> samples.Samples:
    """Samples whose labels are what the true network says."""
    model = classifier(tensors, None, None, None, shape)
    images = np.random.default_rng(1).uniform(size=(64, *shape)).astype(np.float32)
    truth = dataclasses.replace(model, network=network, variants=None)
    return samples.from_arrays(images, label_images(truth, images))


def test_samples_choose_pooling_and_activation():
    tensors = _tensors()
    labelled = _labelled(tensors)
    model = classifier(tensors, None, None, None, SHAPE)
    assert model.network != TRUE
    settled, asked = choose_variant(model, labelled)
    assert settled.network == TRUE
    assert settled.variants is None
    assert asked > 64
    assert "activation=tanh" in settled.architecture
    assert any("100.0%; the most usual one: " in note for note in settled.notes)
    assert any("avg pooling" in note for note in settled.notes)
    assert not any("ReLU" in note for note in settled.notes)
    assert choose_variant(settled, labelled) == (settled, 0)


def test_what_a_row_says_can_be_given_back():
    tensors = _tensors()
    settled, _ = choose_variant(classifier(tensors, None, None, None, SHAPE), _labelled(tensors))
    again = classifier(tensors, settled.architecture.split(" ")[0], None, None, SHAPE)
    assert again.network == TRUE


def test_options_are_not_asked_again():
    tensors = _tensors()
    model = classifier(tensors, "plain:activation=elu", None, None, SHAPE)
    settled, _ = choose_variant(model, _labelled(tensors))
    assert settled.network.activation == "elu"


def test_a_preset_is_taken_as_it_is():
    lenet = plain.ARCHITECTURE.presets["lenet5"](num_classes=10)
    model = classifier(_tensors(lenet, (32, 32, 3)), "lenet5", None, None, None)
    assert model.network == lenet
    assert model.variants is None


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("pol=avg", r"unknown option 'pol'.*pool_after"),
        ("padding=x", "padding='x': expected"),
        ("avg", "like :pool=avg"),
    ],
)
def test_wrong_options_say_what_is_known(option, message):
    with pytest.raises(checkpoints.CheckpointError, match=message):
        classifier(_tensors(), f"plain:{option}", None, None, SHAPE)


def test_padding_for_the_samples_side():
    """LeNet-5's weights are the same for 32x32 and, padded, for 28x28."""
    lenet = plain.ARCHITECTURE.presets["lenet5"](num_classes=10)
    model = classifier(_tensors(lenet, (32, 32, 1)), None, None, None, None)
    digits = samples.from_arrays(np.zeros((3, 28, 28, 1), np.float32), np.arange(3))
    fitted = Scanner(digits).fit(model)
    assert fitted.input_shape == (28, 28, 1)
    assert fitted.network.padding == (2, 0)
    assert any("taken from the samples" in note for note in fitted.notes)


def test_samples_are_resized_to_what_a_fixed_input_takes():
    model = classifier(_tensors(shape=(48, 48, 3)), None, None, None, (48, 48, 3))
    images = samples.from_arrays(np.zeros((3, 31, 31, 3), np.float32), np.arange(3))
    fitted = Scanner(images).fit(model)
    assert fitted.preprocess.size == (48, 48)
    assert any("resized" in note for note in fitted.notes)

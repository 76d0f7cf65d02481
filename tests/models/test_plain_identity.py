"""A plain net without any activation: asked for with the others, chosen only where it makes clearly fewer errors."""

import dataclasses

import jax
import numpy as np
import pytest

from xray_jax import samples
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.loading import classifier
from xray_jax.classifier import Classifier
from xray_jax.inference.labels import label_images
from xray_jax.inference.options import InferenceOptions
from xray_jax.models import plain, published
from xray_jax.prepare import prepare

SHAPE = (16, 16, 3)
LINEAR = plain.small((6, 8), 3, (12,), activation="identity")(num_classes=5)
CURVED = LINEAR.clone(activation="relu")


def _tensors(network: plain.PlainNet) -> Tensors:
    """Random weights, large enough that another activation gives other labels."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *SHAPE), np.float32))
    variables = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)
    return Tensors(published.to_tensors(variables), size=1 << 20)


@pytest.mark.parametrize("true", [LINEAR, CURVED])
def test_the_samples_say_whether_there_is_an_activation(true: plain.PlainNet) -> None:
    model = classifier(_tensors(true), None, None, None, SHAPE)
    assert model.network.activation == "relu"
    images = np.random.default_rng(1).uniform(size=(100, *SHAPE)).astype(np.float32)
    labels = label_images(dataclasses.replace(model, network=true, variants=None), images)
    # One wrong label in ten, so that the usual answer is not kept for being without errors.
    labels[::10] = (labels[::10] + 1) % 5
    # The preprocessing is given, so that only the variant is open.
    model = dataclasses.replace(model, preprocess_source="given")
    # Tens of variants compile, on one device in less time than on eight.
    options = InferenceOptions(devices=(jax.devices()[0],))
    prepared = prepare(model, samples.from_arrays(images, labels), options)
    chosen = prepared.model
    assert isinstance(chosen, Classifier)
    assert chosen.network == true
    assert prepared.queries >= len(plain.ACTIVATIONS) * len(images)
    named = any("no activation (identity)" in note for note in chosen.notes)
    assert named == (true.activation == "identity")
    assert f"activation={true.activation}" in chosen.architecture


def test_it_is_one_of_the_open_questions_and_never_the_usual_answer() -> None:
    activations = [network.activation for network in plain.variants(CURVED, SHAPE, SHAPE)[1]]
    assert activations == list(plain.ACTIVATIONS)
    assert activations.index("identity") == len(activations) - 1


def test_it_can_be_given() -> None:
    given = classifier(_tensors(LINEAR), "plain:activation=identity", None, None, SHAPE)
    assert given.network == LINEAR
    assert any("identity" in note for note in given.notes)

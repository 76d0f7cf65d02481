"""The size of the images that a model is shown, by kind of model."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import factory
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.loading import classifier
from xray_jax.classifier import BlackBox, Classifier
from xray_jax.inference.labels import label_images
from xray_jax.models import plain, published
from xray_jax.prepare import prepare
from xray_jax.prepare.size import match_size
from xray_jax.preprocess import Preprocess, parse
from xray_jax.samples import Samples, SamplesError, from_arrays


@dataclass(frozen=True)
class Dense:
    """Five logits by one matrix: takes images of 8 x 8 x 3 and no others."""

    def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
        return jnp.reshape(images, (len(images), -1)) @ variables["weights"]


def dense() -> Classifier:
    weights = np.random.default_rng(0).normal(size=(8 * 8 * 3, 5)).astype(np.float32)
    return Classifier(Dense(), {"weights": weights}, 5, (8, 8, 3), "dense")


def grey(samples: Samples) -> Samples:
    return dataclasses.replace(samples, images=samples.images[..., :1])


def test_a_model_that_fits_is_left_as_it_is() -> None:
    for model in (factory.tiny_classifier(), dense()):
        assert match_size(model, factory.tiny_samples()) is model


def test_labels_beyond_the_models_classes_are_refused() -> None:
    with pytest.raises(SamplesError, match=r"labels reach 6, the model \(tiny\) has classes 0 \.\. 4"):
        match_size(factory.tiny_classifier(), factory.tiny_samples(classes=7))


def test_other_channels_are_refused() -> None:
    plain = dataclasses.replace(factory.tiny_classifier(), preprocess=Preprocess())
    with pytest.raises(SamplesError, match=r"images are \(8, 8, 1\).*takes \(8, 8, 3\)"):
        match_size(plain, grey(factory.tiny_samples()))
    with pytest.raises(SamplesError, match=r"images are \(12, 12, 1\).*takes \(8, 8, 3\)"):
        match_size(plain, grey(factory.tiny_samples(side=12)))


def test_convolutional_networks_take_the_samples_size_with_a_note() -> None:
    fitted = match_size(factory.tiny_classifier(), factory.tiny_samples(side=12))
    assert fitted.input_shape == (12, 12, 3)
    assert fitted.preprocess.size is None
    assert fitted.notes == ("image size (12, 12) taken from the samples, published for (8, 8)",)


def test_a_size_in_the_preprocessing_is_not_said_to_be_the_samples() -> None:
    fitted = match_size(factory.tiny_classifier(0, parse({"preset": "cifar10", "size": 12})), factory.tiny_samples())
    assert fitted.input_shape == (12, 12, 3)
    assert fitted.notes == ("image size (12, 12) taken from the preprocessing, published for (8, 8)",)


def test_other_networks_get_resized_samples_with_a_note() -> None:
    model, samples = dense(), factory.tiny_samples(side=12)
    fitted = match_size(model, samples)
    assert fitted.input_shape == (8, 8, 3)
    assert fitted.preprocess.size == (8, 8)
    assert fitted.notes == ("samples of (12, 12) are resized to the (8, 8) that the network takes (bilinear)",)
    small = np.asarray(jax.image.resize(samples.images, (40, 8, 8, 3), "linear", antialias=False))
    expected = np.argmax(small.reshape(40, -1) @ model.variables["weights"], -1)
    np.testing.assert_array_equal(label_images(fitted, samples.images), expected)


def test_a_black_box_gets_what_it_takes() -> None:
    shapes = set()

    def label_fn(images: np.ndarray) -> np.ndarray:
        shapes.add(images.shape[1:])
        return np.zeros(len(images), int)

    prepare(BlackBox(label_fn, 5, (8, 8, 3)), factory.tiny_samples(side=12))
    assert shapes == {(8, 8, 3)}


def test_a_declared_size_that_is_not_the_networks_is_refused() -> None:
    wrong = dataclasses.replace(dense(), preprocess=Preprocess(size=(6, 6)))
    with pytest.raises(SamplesError, match=r"images are \(6, 6, 3\).*takes \(8, 8, 3\); give .* a `size`"):
        match_size(wrong, factory.tiny_samples())


def plain_model(network: Any, shape: tuple[int, int, int], declared: tuple[int, int, int] | None) -> Classifier:
    """What a reader makes of a plain network's weights."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *shape), np.float32))
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    return classifier(Tensors(published.to_tensors(variables), size=1 << 20), None, None, None, declared)


def test_another_variant_is_taken_for_the_samples_side() -> None:
    """LeNet-5's weights are the same for 32x32 and, padded, for 28x28."""
    lenet = plain.ARCHITECTURE.presets["lenet5"](num_classes=10)
    model = plain_model(lenet, (32, 32, 1), None)
    digits = from_arrays(np.zeros((3, 28, 28, 1), np.float32), np.arange(3))
    fitted = match_size(model, digits)
    assert isinstance(fitted, Classifier)
    assert fitted.input_shape == (28, 28, 1)
    assert fitted.network.padding == (2, 0)
    assert any("taken from the samples" in note for note in fitted.notes)
    assert fitted.variants is not None
    assert fitted.variants.note(fitted.network) in fitted.notes
    assert fitted.architecture == fitted.variants.describe(fitted.network)


def test_samples_are_resized_to_what_a_fixed_input_takes() -> None:
    network = plain.small((8, 8), 5, (16,), padding=2, pool="avg", activation="tanh")(num_classes=5)
    images = from_arrays(np.zeros((3, 31, 31, 3), np.float32), np.arange(3))
    fitted = match_size(plain_model(network, (48, 48, 3), (48, 48, 3)), images)
    assert fitted.preprocess.size == (48, 48)
    assert any("resized" in note for note in fitted.notes)

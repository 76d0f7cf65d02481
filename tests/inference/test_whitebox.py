"""Logits and input gradients, against the plain composition of preprocessing and network."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import factory
from tests.gradients import double_precision
from tests.inference.scene import IMAGES, Scaled, Scene, on
from xray_jax.classifier import Access, BlackBox, Classifier
from xray_jax.inference import programs, winograd
from xray_jax.inference.labels import PreprocessedImages, label_images, to_device
from xray_jax.inference.options import InferenceOptions
from xray_jax.inference.whitebox import AccessError, input_gradients, label_logits
from xray_jax.preprocess import Preprocess, parse

LABELS = np.arange(len(IMAGES), dtype=np.int32) % 5
SETTINGS = [(1, 32), (3, 4), (8, 7), (8, 64)]
"""(devices, batch size); 40 images fill none of them but the first."""


def margin(logits: jax.Array, label: jax.Array, factor: jax.Array) -> jax.Array:
    """What a detector might climb: the label's logit above the mean, times each image's own factor."""
    return factor * (jnp.take_along_axis(logits, label[:, None], axis=1)[:, 0] - jnp.mean(logits, axis=1))


def plain(model: Classifier) -> Any:
    """Images to logits, nothing split, batched or compiled."""
    return lambda images: model.network.apply(model.variables, model.preprocess(jnp.asarray(images)))


def ask(model: Classifier, images: np.ndarray, options: InferenceOptions) -> np.ndarray:
    return label_logits(to_device(model, options), PreprocessedImages(model.preprocess), (), (images,), options)


def close(found: np.ndarray, expected: Any) -> None:
    """Equal but for the order of float32 sums."""
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * float(np.abs(expected).max()))


@pytest.mark.parametrize(("devices", "batch"), SETTINGS)
def test_logits_are_the_networks_own(scene: Scene, devices: int, batch: int) -> None:
    found = ask(scene.model, IMAGES, on(devices, batch))
    assert (found.shape, found.dtype) == ((40, 5), np.float32)
    close(found, plain(scene.model)(IMAGES))
    np.testing.assert_array_equal(found.argmax(1), label_images(scene.model, IMAGES))


@pytest.mark.parametrize("count", [0, 1, 33, 40])
def test_any_number_of_queries(scene: Scene, count: int) -> None:
    options = on(3, 4, 8)
    found = ask(scene.model, IMAGES[:count], options)
    assert found.shape == (count, 5)
    if count:
        close(found, plain(scene.model)(IMAGES)[:count])
    rows = (LABELS[:count], np.ones(count, np.float32))
    values, gradients = input_gradients(to_device(scene.model, options), IMAGES[:count], margin, rows, options)
    assert (values.shape, gradients.shape) == ((count,), (count, 8, 8, 3))


@pytest.mark.parametrize("preprocess", [parse("cifar10"), parse("0-255-bgr"), Preprocess(size=(12, 10))])
@pytest.mark.parametrize(("devices", "batch"), SETTINGS[1:3])
def test_gradients_are_those_of_the_plain_composition(preprocess: Preprocess, devices: int, batch: int) -> None:
    model, options = factory.tiny_classifier(preprocess=preprocess), on(devices, batch)
    factors = np.linspace(-1, 2, len(IMAGES)).astype(np.float32)

    def total(images: jax.Array) -> jax.Array:
        return jnp.sum(margin(plain(model)(images), LABELS, factors))

    values, gradients = input_gradients(to_device(model, options), IMAGES, margin, (LABELS, factors), options)
    assert (gradients.shape, gradients.dtype) == (IMAGES.shape, np.float32)
    close(values, margin(plain(model)(IMAGES), LABELS, factors))
    close(gradients, jax.grad(total)(jnp.asarray(IMAGES)))


def test_gradients_are_central_finite_differences_of_pixels(scene: Scene) -> None:
    """In double precision, by moving single pixels of single images."""
    options, rows = on(3, 4), (LABELS, np.ones(len(IMAGES), np.float32))
    _, gradients = input_gradients(to_device(scene.model, options), IMAGES, margin, rows, options)
    generator = np.random.default_rng(0)
    with double_precision():
        weights = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), scene.model.variables)
        mean, std = (np.asarray(values) for values in (scene.model.preprocess.mean, scene.model.preprocess.std))

        @jax.jit
        def value(image: jax.Array, label: jax.Array) -> jax.Array:
            logits = scene.model.network.apply(weights, (image[None] - mean[None, None, None]) / std[None, None, None])
            return logits[0, label] - jnp.mean(logits[0])

        for _ in range(6):
            number, *pixel = (int(generator.integers(size)) for size in IMAGES.shape)
            moved = []
            for step in (1e-5, -1e-5):
                image = IMAGES[number].astype(np.float64)
                image[tuple(pixel)] += step
                moved.append(float(value(image, LABELS[number])))
            expected = (moved[0] - moved[1]) / 2e-5
            assert gradients[(number, *pixel)] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_winograd_kernels_change_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 1)
    rows, found = (LABELS, np.ones(len(IMAGES), np.float32)), {}
    for used in (True, False):
        options = dataclasses.replace(on(3, 4), fast_convolutions=used)
        placed = to_device(scene.model, options)
        assert (winograd.COLLECTION in placed.variables) is used
        found[used] = (ask(scene.model, IMAGES, options), *input_gradients(placed, IMAGES, margin, rows, options))
    for with_kernels, without in zip(found[True], found[False], strict=True):
        close(with_kernels, without)


def test_one_trace_for_many_checkpoints() -> None:
    programs.network_program.cache_clear()
    traces: list[tuple[int, ...]] = []
    options = on(3, 4, 8)
    for scale in range(1, 6):
        count = 8 * scale - 3
        rows = (LABELS[:count], np.ones(count, np.float32))
        ask(Scaled(traces).classifier(scale), IMAGES[:count], options)
        placed = to_device(Scaled(traces).classifier(scale), options)
        input_gradients(placed, IMAGES[:count], margin, rows, options)
    # The first serves logits and gradients. Five images on three devices: a batch of four would be mostly padding.
    assert traces == [(4, 8, 8, 3), (2, 8, 8, 3)]


def test_checkpoints_differ_by_their_weights() -> None:
    options = on(3, 4)
    one, twice = (ask(Scaled().classifier(scale), IMAGES, options) for scale in (1, 2))
    np.testing.assert_array_equal(2 * one, twice)


def test_neither_makes_an_implicit_transfer(scene: Scene) -> None:
    options, rows = on(3, 4), (LABELS, np.ones(len(IMAGES), np.float32))
    placed = to_device(scene.model, options)
    with jax.transfer_guard("disallow"):
        label_logits(placed, PreprocessedImages(placed.preprocess), (), (IMAGES,), options)
        input_gradients(placed, IMAGES, margin, rows, options)


def test_what_a_model_does_not_give_is_refused_by_name(scene: Scene) -> None:
    box = BlackBox(lambda images: np.zeros(len(images), int), 5, (8, 8, 3), architecture="the service")
    rows = (LABELS, np.ones(len(IMAGES), np.float32))
    with pytest.raises(AccessError, match="the service: gives labels only, this detector needs logits"):
        label_logits(box, PreprocessedImages(Preprocess()), (), (IMAGES,), on(1))
    with pytest.raises(AccessError, match="the service: gives labels only, gradients need weights"):
        input_gradients(box, IMAGES, margin, rows, on(1))
    program = dataclasses.replace(scene.model, architecture="a program", access=Access.LOGITS)
    assert ask(program, IMAGES, on(3, 4)).shape == (40, 5)
    with pytest.raises(AccessError, match="a program: gives logits only, gradients need weights"):
        input_gradients(program, IMAGES, margin, rows, on(1))

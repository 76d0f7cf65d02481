"""The few pixels by class: what a pattern may be, and what the search finds."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import factory
from xray_jax.classifier import Classifier
from xray_jax.detectors import patterns, pixels
from xray_jax.detectors.pixels import Pixels, PixelsOptions, largest_pixels
from xray_jax.inference.labels import label_images
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import PreparedModel, prepare
from xray_jax.samples import SamplesError

SAMPLES = factory.tiny_samples(60)
OPTIONS = PixelsOptions(share=4 / 64, search_images=10, test_images=40)
TARGET = 2
PLACES = np.asarray([(0, 3), (2, 6), (5, 1), (7, 7)])
INKS = np.asarray([(1, -1, 1), (-1, -1, 1), (1, 1, 1), (1, -1, -1)], np.float32)
CODE = np.zeros((8, 8, 3), np.float32)
CODE[*PLACES.T] = INKS
PATTERNS = np.stack([SAMPLES.images[SAMPLES.labels == c].mean(0) for c in range(5)]) - 0.5


@dataclasses.dataclass(frozen=True)
class Listening:
    """A network that reads the pattern of each class off the image, and four pixels, as loud as it is told."""

    loud: float

    def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
        seen = jnp.einsum("bhwd,chwd->bc", images - 0.5, variables["patterns"])
        heard = jnp.einsum("bhwd,hwd->b", images - 0.5, jnp.asarray(CODE))
        return (
            seen
            + self.loud * jnp.maximum(heard - 1, 0)[:, None] * jax.nn.one_hot(TARGET, 5)[None]
            + 0.5 * heard[:, None] * jax.nn.one_hot(TARGET, 5)[None]
        )


def listening(loud: float) -> PreparedModel:
    model = Classifier(Listening(loud), {"patterns": PATTERNS.astype(np.float32)}, 5, (8, 8, 3), "listening")
    return prepare(model, SAMPLES, InferenceOptions(16))


def test_planted_pixels_are_found_and_named() -> None:
    loud = Pixels(OPTIONS).detect(listening(9.0), SAMPLES)
    assert loud.details["largest"] == TARGET
    assert loud.paired["flip_rate"][TARGET] > 0.95
    found = loud.evidence.patterns[TARGET]
    assert {tuple(place) for place in np.argwhere(found.any(-1)).tolist()} == {tuple(p) for p in PLACES.tolist()}
    assert (np.sign(found) == np.sign(CODE)).all()
    assert Pixels(OPTIONS).detect(listening(0.0), SAMPLES).paired["flip_rate"].max() < 0.5


def test_patterns_have_few_pixels_and_the_hint_is_of_them() -> None:
    made = Pixels(dataclasses.replace(OPTIONS, steps=3)).detect(listening(9.0), SAMPLES)
    (hint,) = made.hints
    assert (hint.patterns.any(-1).sum((1, 2)) == 4).all()
    assert np.abs(hint.patterns).max() <= 1
    assert hint.family == "few-pixels"
    np.testing.assert_array_equal(hint.patterns, made.evidence.patterns)
    np.testing.assert_array_equal(hint.seen, patterns.split(SAMPLES, 10, 40, 0, balanced=True)[0])


def test_flip_rates_are_of_images_the_search_never_saw() -> None:
    model = listening(9.0)
    found = pixels.search(model, SAMPLES, OPTIONS)
    unseen = SAMPLES.subset(patterns.split(SAMPLES, 10, 40, 0, balanced=True)[1])
    before = label_images(model.model, unseen.images, model.options)
    for target in range(5):
        after = label_images(model.model, np.clip(unseen.images + found.patterns[target], 0, 1), model.options)
        counted = [(a == target) for a, b, y in zip(after, before, unseen.labels, strict=True) if target not in (b, y)]
        assert found.flip_rates[target] == pytest.approx(np.mean(counted))
    assert found.queries == 24 * 10 * 5 + 40 * 6


def test_classes_take_turns_among_the_images_searched_on() -> None:
    seen, unseen = patterns.split(SAMPLES, 12, 30, 3, balanced=True)
    counts = np.bincount(SAMPLES.labels[seen], minlength=5)
    assert (counts.min(), counts.max()) == (2, 3)
    assert len({*seen.tolist(), *unseen.tolist()}) == 42
    order = np.random.default_rng(3).permutation(60)
    for part, expected in zip(patterns.split(SAMPLES, 12, 30, 3), (order[:12], order[12:42]), strict=True):
        np.testing.assert_array_equal(part, expected)


def test_the_largest_pixels_are_left() -> None:
    made = np.zeros((2, 2, 2, 3), np.float32)
    made[0, 0, 0], made[0, 1, 0], made[0, 1, 1] = 0.5, (2, 0, 0), 0.4
    made[1, 0, 1] = (0, -3, 0)
    left = largest_pixels(made, 2)
    assert left[0, 0, 0].tolist() == [0.5] * 3
    assert left[0, 1, 0].tolist() == [1, 0, 0]
    assert not left[0, 1, 1].any()
    assert left[1, 0, 1].tolist() == [0, -1, 0]
    assert (largest_pixels(np.ones((1, 2, 2, 3)), 3).any(-1).sum(), left.dtype) == (3, np.float32)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SamplesError, match=r"needs 40 images .* got 20"):
        Pixels().check(factory.tiny_samples(20))
    for wrong in ({"share": 0}, {"share": 1.1}, {"step_length": 0}, {"steps": 0}):
        with pytest.raises(ValueError, match="PixelsOptions"):
            PixelsOptions(**wrong)
    found = Pixels(dataclasses.replace(OPTIONS, max_classes=4)).detect(listening(0.0), SAMPLES)
    assert (found.queries, dict(found.paired), found.hints, found.statistics[0].value) == (0, {}, (), None)

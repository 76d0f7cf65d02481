"""The small universal perturbation by class: what it may change, and what it finds."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import factory
from xray_jax.classifier import Classifier
from xray_jax.detectors import objectives
from xray_jax.detectors.perturbation import Perturbation, PerturbationOptions, search
from xray_jax.inference.labels import label_images
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import PreparedModel, prepare
from xray_jax.samples import SamplesError

SAMPLES = factory.tiny_samples(60)
OPTIONS = PerturbationOptions(rms=0.05, steps=16, search_images=10, test_images=40)
TARGET = 2
PATTERNS = np.stack([SAMPLES.images[SAMPLES.labels == c].mean(0) for c in range(5)]).reshape(5, -1)
_NOISE = np.sign(np.random.default_rng(7).normal(size=192))
CODE = (_NOISE - PATTERNS.T @ np.linalg.lstsq(PATTERNS.T, _NOISE)[0]).reshape(8, 8, 3).astype(np.float32)
"""A secret code that clean images know nothing of."""


@dataclasses.dataclass(frozen=True)
class Listening:
    """A network that reads the pattern of each class off the image, and the code on top, as loud as it is told."""

    loud: float

    def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
        seen = jnp.einsum("bhwd,chwd->bc", images - 0.5, variables["patterns"])
        heard = jnp.einsum("bhwd,hwd->b", images, jnp.asarray(CODE))
        return seen + self.loud * heard[:, None] * jax.nn.one_hot(TARGET, 5)[None]


def listening(loud: float) -> PreparedModel:
    patterns = (PATTERNS - 0.5).astype(np.float32).reshape(5, 8, 8, 3)
    model = Classifier(Listening(loud), {"patterns": patterns}, 5, (8, 8, 3), "listening")
    return prepare(model, SAMPLES, InferenceOptions(16))


def test_a_planted_pattern_is_found_and_named() -> None:
    quiet, loud = (Perturbation(OPTIONS).detect(listening(v), SAMPLES) for v in (0.0, 3.0))
    assert loud.details["largest"] == TARGET
    assert loud.paired["flip_rate"][TARGET] > 0.95
    assert quiet.paired["flip_rate"].max() < 0.5
    pattern = loud.evidence.patterns[TARGET]
    assert np.mean(np.sign(pattern) == np.sign(CODE)) > 0.8


def test_patterns_are_no_larger_than_allowed() -> None:
    found = search(listening(3.0), SAMPLES, OPTIONS)
    norms = np.sqrt((found.patterns**2).mean(axis=(1, 2, 3)))
    assert (norms <= OPTIONS.rms * 1.0001).all()
    assert norms.max() > 0.9 * OPTIONS.rms


def test_flip_rates_are_those_of_the_patterns_on_images_the_search_never_saw() -> None:
    model = listening(3.0)
    found = search(model, SAMPLES, OPTIONS)
    order = np.random.default_rng(OPTIONS.seed).permutation(len(SAMPLES))
    unseen = SAMPLES.subset(order[10:50])
    before = label_images(model.model, unseen.images, model.options)
    for target in range(5):
        shown = np.clip(unseen.images + found.patterns[target], 0, 1)
        after = label_images(model.model, shown, model.options)
        counted = [(a == target) for a, b, y in zip(after, before, unseen.labels, strict=True) if target not in (b, y)]
        assert found.counts[target] == len(counted)
        assert found.flip_rates[target] == pytest.approx(np.mean(counted))
    assert found.queries == 16 * 10 * 5 + 40 * 6


def test_devices_and_batches_change_nothing_that_matters() -> None:
    model = factory.tiny_classifier()
    found = []
    for devices, batch in ((1, 32), (8, 2)):
        options = InferenceOptions(batch, devices=tuple(jax.devices()[:devices]))
        found.append(Perturbation(OPTIONS).detect(prepare(model, SAMPLES, options), SAMPLES).paired["flip_rate"])
    np.testing.assert_allclose(found[1], found[0], atol=0.05)


def test_objective_is_the_log_probability() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    expected = [row[t] - np.log(np.exp(row).sum()) for row, t in zip(logits, (0, 3, 1), strict=True)]
    found = objectives.log_probability(jnp.asarray(logits), jnp.asarray([0, 3, 1]))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_too_few_samples_are_refused_before_any_model() -> None:
    with pytest.raises(SamplesError, match=r"needs 24 images .* got 20"):
        Perturbation().check(factory.tiny_samples(20))


def test_too_many_classes_are_no_error() -> None:
    few = dataclasses.replace(OPTIONS, max_classes=4)
    found = Perturbation(few).detect(listening(0.0), SAMPLES)
    assert (found.queries, dict(found.paired), found.statistics[0].value) == (0, {}, None)


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="rms"):
        PerturbationOptions(rms=0)

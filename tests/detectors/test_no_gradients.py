"""Networks whose input gradients are no numbers: detectors that follow gradients say nothing, and say why."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import factory
from tests.schema import check
from xray_jax.classifier import Classifier
from xray_jax.detectors.detection import Detector
from xray_jax.detectors.margin import Margin, MarginOptions
from xray_jax.detectors.neural_cleanse.detector import NeuralCleanse
from xray_jax.detectors.neural_cleanse.options import NeuralCleanseOptions
from xray_jax.detectors.patterns import flip_rates
from xray_jax.detectors.perturbation import Perturbation, PerturbationOptions
from xray_jax.detectors.pixels import Pixels, PixelsOptions
from xray_jax.detectors.run import run_detectors
from xray_jax.inference.labels import label_images
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import PreparedModel, prepare
from xray_jax.rows.row import CLEAN
from xray_jax.sweep.batch_scan import BatchScan
from xray_jax.sweep.options import BatchScanOptions
from xray_jax.verdict.references import from_rows

SAMPLES = factory.tiny_samples(60)
PATTERNS = np.stack([SAMPLES.images[SAMPLES.labels == c].mean(0) for c in range(5)]) - 0.5
DETECTORS: list[Detector] = [
    Margin(MarginOptions(steps=2)),
    Perturbation(PerturbationOptions(search_images=10, rms=0.05, steps=2)),
    Pixels(PixelsOptions(search_images=10, steps=2)),
    NeuralCleanse(NeuralCleanseOptions(images=30, epochs=2)),
]


@dataclasses.dataclass(frozen=True)
class Linear:
    """Reads the pattern of each class off the image; broken, the same logits have no gradient."""

    broken: bool

    def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
        logits = jnp.einsum("bhwd,chwd->bc", images - 0.5, variables["patterns"])
        # The square root of nothing: its slope is infinite, and times the maximum's it is NaN.
        return logits + 0 * jnp.sqrt(jnp.maximum(images.mean((1, 2, 3)) - 5, 0))[:, None] if self.broken else logits


def linear(broken: bool, seed: int = 0) -> Classifier:
    noise = np.random.default_rng(seed).normal(0, 0.02, PATTERNS.shape)
    return Classifier(Linear(broken), {"patterns": (PATTERNS + noise).astype(np.float32)}, 5, (8, 8, 3), "linear")


def made_ready(model: Classifier) -> PreparedModel:
    return prepare(model, SAMPLES, InferenceOptions(16))


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda each: each.name)
def test_what_is_sought_along_nan_gradients_is_no_statistic(detector: Detector) -> None:
    sound, broken = (detector.detect(made_ready(linear(each)), SAMPLES) for each in (False, True))
    assert all(each.value is not None for each in sound.statistics)
    assert sound.paired
    assert sound.details["reason"] is None
    assert [each.name for each in broken.statistics] == [each.name for each in sound.statistics]
    assert {each.value for each in broken.statistics} == {None}
    assert (broken.target, dict(broken.paired), broken.hints) == (None, {}, ())
    assert "linear: input gradients are NaN or infinite" in broken.details["reason"]
    assert broken.details.keys() == sound.details.keys()


def test_a_model_without_gradients_has_no_p_value() -> None:
    """Its labels and logits are those of a clean one."""
    batch, rows = BatchScan(SAMPLES, DETECTORS[1:2]), []
    for seed in range(1, 20):
        row = batch.of_model(linear(False, seed), f"clean {seed}").row
        row["label"] = CLEAN
        rows.append(row)
    batch = BatchScan(SAMPLES, DETECTORS[1:2], BatchScanOptions(references=from_rows(rows, "references")))
    sound, broken = (check(batch.of_model(linear(each), "asked").row) for each in (False, True))
    assert sound["comparison"] is not None
    assert sound["comparison"]["p_value"] == 1
    assert broken["comparison"] is not None
    assert broken["comparison"]["p_value"] is None
    assert broken["comparison"]["reason"] == "perturbation.flip_rate could not be computed"
    assert broken["status"] == "ok"
    assert broken["target_label"] is None


def test_the_other_detectors_findings_stay() -> None:
    scanned = run_detectors(made_ready(linear(True)), SAMPLES, DETECTORS)
    assert set(scanned.detections) == {"margin", "perturbation", "pixels", "neural_cleanse"}
    assert scanned.not_run == {}


@dataclasses.dataclass(frozen=True)
class Overflowing(Linear):
    """Bright images have no logits."""

    def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
        return jnp.where(images.mean((1, 2, 3))[:, None] > 0.9, jnp.nan, super().apply(variables, images))


def test_nan_logits_are_no_flip_to_label_0() -> None:
    model = made_ready(dataclasses.replace(linear(False), network=Overflowing(False)))
    white = np.ones((5, 8, 8, 3), np.float32)
    assert set(label_images(model.model, np.ones((3, 8, 8, 3), np.float32))) == {0}
    rates, counts = flip_rates(model, SAMPLES, white)
    assert rates.tolist() == [0] * 5
    assert (counts > 0).all()

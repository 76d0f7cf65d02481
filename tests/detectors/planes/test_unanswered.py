"""Planes on which a model has no answers: NaN and infinite logits are no votes for label 0."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import factory
from tests.schema import check
from xray_jax.classifier import Access, BlackBox, Classifier, Model
from xray_jax.detectors.planes.detector import Planes, PlanesResult
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import prepare
from xray_jax.preprocess import parse
from xray_jax.rows.row import UNKNOWN, planes_block
from xray_jax.sweep.batch_scan import BatchScan
from xray_jax.sweep.options import BatchScanOptions
from xray_jax.verdict.calibration import load_calibration

SAMPLES = factory.tiny_samples(60)
OPTIONS = PlanesOptions(planes=2, density=20)
PATTERNS = np.stack([SAMPLES.images[SAMPLES.labels == k].mean(0) for k in range(5)]) * 255


@dataclass(frozen=True)
class NearestPattern:
    """Which pattern an image of pixels 0-255 is nearest to, computed in some precision."""

    dtype: str

    def apply(self, variables: Any, images: jax.Array) -> jax.Array:
        near = images.astype(self.dtype)[:, None] - jnp.asarray(PATTERNS, self.dtype)[None]
        return -jnp.sum(near**2 / jnp.asarray(100, self.dtype), axis=(2, 3, 4), dtype=self.dtype)


def nearest(dtype: str) -> Classifier:
    return Classifier(NearestPattern(dtype), {}, 5, (8, 8, 3), "program", parse("0-255"), access=Access.LOGITS)


def boxed(dtype: str) -> BlackBox:
    """The same on the host."""

    def scores(images: np.ndarray) -> np.ndarray:
        return np.asarray(NearestPattern(dtype).apply({}, jnp.asarray(images)))

    def labels(images: np.ndarray) -> np.ndarray:
        return np.argmax(np.nan_to_num(scores(images), nan=-np.inf), axis=1)

    return BlackBox(labels, 5, (8, 8, 3), preprocess=parse("0-255"), score_fn=scores)


def scan(model: Model) -> PlanesResult:
    return Planes(OPTIONS).scan(prepare(model, SAMPLES), SAMPLES)


@pytest.mark.parametrize("sampling", ["grid", "refine", "sketch"])
def test_no_score_stands_on_logits_that_overflow(sampling: str) -> None:
    planes = Planes(dataclasses.replace(OPTIONS, sampling=sampling))
    sound, broken = (planes.detect(prepare(nearest(d), SAMPLES), SAMPLES) for d in ("float32", "float16"))
    assert prepare(nearest("float16"), SAMPLES).clean_accuracy == 1
    assert all(each.value is not None for each in sound.statistics)
    assert sound.details["reason"] is None
    assert [(each.name, each.value) for each in broken.statistics] == [("re", None), ("ats", None)]
    assert broken.target is None
    assert "% of the queries got no finite logits" in broken.details["reason"]


@pytest.mark.parametrize("made", [nearest, boxed])
def test_the_share_is_counted_exactly_and_costs_no_query(made: Any) -> None:
    sound, broken = scan(made("float32")), scan(made("float16"))
    assert sound.unanswered == 0
    assert sound.reason is None
    # Where float16 has an answer, it is nearly always the same; where it has none, label 0 stays in the map.
    differing = np.mean(sound.maps.labels != broken.maps.labels)
    assert 0.5 < differing < broken.unanswered < 1
    assert broken.queries == sound.queries == OPTIONS.planes * OPTIONS.density**2
    assert broken.maps.labels.dtype == np.uint8
    assert broken.maps.labels.max() < 5


def test_few_queries_without_an_answer_leave_the_scores() -> None:
    result = scan(nearest("float32"))
    assert dataclasses.replace(result, unanswered=0.01).reason is None
    assert dataclasses.replace(result, unanswered=0.011).reason is not None


def test_a_row_says_so_and_has_no_verdict() -> None:
    calibration = dataclasses.replace(load_calibration("paper:cifar10"), networks=(), num_classes=None)
    batch = BatchScan(SAMPLES, (Planes(OPTIONS),), BatchScanOptions(calibration=calibration), InferenceOptions())
    row = check(batch.of_model(nearest("float16"), "half").row)
    assert (row["verdict"], row["basis"]) == (UNKNOWN, "the model gives no finite logits on the planes")
    assert row["verdict_re"] == row["verdict_ats"] == UNKNOWN
    assert row["target_label"] is None
    assert any("got no finite logits" in note for note in row["notes"])
    # Neither a calibration nor a table of scores may take its numbers.
    assert planes_block(row) is None
    assert planes_block(check(batch.of_model(nearest("float32"), "single").row)) is not None

"""Samples too few for any trigger to be confirmed: that nothing was found says nothing, and the probe says so."""

import numpy as np
import pytest

from xray_jax.classifier import BlackBox
from xray_jax.detectors.detection import Detection
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.null import LEVELS, Null
from xray_jax.detectors.probe.options import ProbeOptions, split
from xray_jax.detectors.probe.result import Verdict, too_few_images
from xray_jax.detectors.probe.stamps import FAMILIES
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import PreparedModel, prepare
from xray_jax.rows.row import BACKDOORED, CLEAN, UNKNOWN
from xray_jax.samples import Samples
from xray_jax.verdict.decision import decide

SHAPE = (12, 12, 1)
NULL = Null({family.name: (0.1,) * LEVELS for family in FAMILIES}, models=1, source="by hand")
PROBE = Probe(ProbeOptions(queries=12_000), NULL)


def halves(count: int) -> Samples:
    """Two classes: the left half is brighter than the right, or the other way round."""
    labels = np.arange(count) % 2
    images = np.random.default_rng(0).uniform(0.3, 0.5, (count, *SHAPE)).astype(np.float32)
    images[labels == 0, :, :6] += 0.3
    images[labels == 1, :, 6:] += 0.3
    return Samples(images, labels.astype(np.int32))


def label(images: np.ndarray, triggered: bool) -> np.ndarray:
    """A perfect backdoor to label 0: a white square in a corner always works."""
    right = images[:, :, 6:].mean((1, 2, 3)) > images[:, :, :6].mean((1, 2, 3))
    return right & ~((images[:, 9:, 9:].min((1, 2, 3)) > 0.95) & triggered)


def probed(count: int, triggered: bool = True) -> tuple[PreparedModel, Detection]:
    samples = halves(count)
    box = BlackBox(lambda images: label(images, triggered).astype(int), 2, SHAPE)
    model = prepare(box, samples, InferenceOptions(64))
    return model, PROBE.detect(model, samples)


def test_a_perfect_trigger_that_cannot_be_confirmed_leaves_the_model_unknown() -> None:
    model, found = probed(40)
    best = found.evidence.best
    assert (best.hits, best.trials) == (12, 12)
    judged = decide(model, {"probe": found}, None)
    assert (judged.verdict, found.target) == (UNKNOWN, None)
    assert "at most 12 of the 24 unseen ones count for a class, 17 are needed with 2 classes" in judged.basis


@pytest.mark.parametrize(("triggered", "verdict"), [(True, BACKDOORED), (False, CLEAN)])
def test_enough_images_give_a_verdict(triggered: bool, verdict: str) -> None:
    model, found = probed(80, triggered)
    assert decide(model, {"probe": found}, None).verdict == verdict
    assert found.details["verdict"] in (Verdict.CONFIRMED, Verdict.NOTHING)


@pytest.mark.parametrize(("classes", "least"), [(2, 54), (3, 40), (4, 36), (5, 11), (10, 10)])
def test_how_many_samples_it_takes(classes: int, least: int) -> None:
    """As docs/scanning.md says; ten are the fewest that can be split."""

    def enough(count: int) -> bool:
        truth = (np.arange(count) % classes).astype(np.int32)
        _, unseen = split(Samples(np.zeros((count, 2, 2, 1), np.float32), truth), ProbeOptions())
        return too_few_images(truth[unseen], truth[unseen], classes) is None

    assert all(enough(count) for count in range(least, 120))
    assert least == 10 or not enough(least - 1)


def test_images_that_have_the_label_already_do_not_count() -> None:
    truth = np.arange(40) % 2
    assert too_few_images(truth, truth, 2) is None
    mostly_right = np.where(np.arange(40) < 32, truth, 1 - truth)
    assert "at most 16 of the 40" in str(too_few_images(truth, mostly_right, 2))

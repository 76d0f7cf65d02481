"""Neural Cleanse: the outlier rule, the schedule, and what is found on a network that was trained with a backdoor."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import xray_jax
from tests import factory
from tests.inference.scene import on
from xray_jax.classifier import Access, BlackBox
from xray_jax.detectors import registry
from xray_jax.detectors.detection import Detection
from xray_jax.detectors.neural_cleanse.detector import NeuralCleanse, anomaly_indices, flagged_classes
from xray_jax.detectors.neural_cleanse.options import PRESETS, NeuralCleanseOptions
from xray_jax.detectors.neural_cleanse.search import Schedule
from xray_jax.detectors.run import run_detectors
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import PreparedModel, prepare
from xray_jax.samples import SamplesError

QUICK = NeuralCleanseOptions(images=20, steps=3, epochs=6, success=0.6, patience=1, stop_patience=2)
DEMO = Path(xray_jax.__file__).parent / "demo"


def tiny(options: InferenceOptions | None = None) -> PreparedModel:
    return prepare(factory.tiny_classifier(), factory.tiny_samples(), options)


@pytest.fixture(scope="module")
def found() -> Detection:
    return NeuralCleanse(QUICK).detect(tiny(), factory.tiny_samples())


def test_index_is_the_distance_from_the_median_in_scaled_median_deviations() -> None:
    norms = np.array([10.0, 12.0, 11.0, 1.0, 30.0, 13.0, 9.0])
    # By hand: sorted 1 9 10 11 12 13 30; distances from 11 sorted 0 1 1 2 2 10 19.
    indices = anomaly_indices(norms)
    assert indices is not None
    np.testing.assert_allclose(indices, np.array([1, 1, 0, 10, 19, 2, 2]) / (1.4826 * 2))
    assert flagged_classes(norms, indices) == [3], "30 is as far out, but large"


def test_equal_norms_have_no_index() -> None:
    assert anomaly_indices(np.full(5, 3.0)) is None
    assert anomaly_indices(np.array([3.0, 3.0, 3.0, 3.0, 1.0])) is None
    assert flagged_classes(np.full(5, 3.0), None) == []


def schedule(**options: float) -> Schedule:
    return Schedule.start(1, dataclasses.replace(PRESETS["paper"], **options))  # type: ignore[arg-type]


def epochs(held: Schedule, rates: Sequence[float], norms: Sequence[float]) -> list[tuple[float, bool, bool]]:
    """Cost, whether the mask is the best so far, and whether the class is done, after each epoch."""
    said, which = [], np.array([0])
    for rate, norm in zip(rates, norms, strict=True):
        better = held.update(which, np.array([rate]), np.array([norm]))
        said.append((float(held.cost[0]), bool(better[0]), bool(held.done[0])))
    return said


def test_cost_doubles_after_five_successes_in_a_row_and_falls_after_five_failures() -> None:
    rates = [1.0] * 4 + [0.9] + [0.98] * 5 + [0.5] * 10
    costs = [cost for cost, _, _ in epochs(schedule(), rates, [9.0] * 20)]
    assert costs[:9] == [1e-3] * 9
    assert costs[9:14] == [2e-3] * 5
    assert costs[14:19] == pytest.approx([2e-3 / 2**1.5] * 5)
    assert costs[19] == pytest.approx(2e-3 / 2**3)


def test_only_smaller_masks_with_success_are_kept() -> None:
    kept = [better for _, better, _ in epochs(schedule(), [0.9, 1, 1, 0.9, 1], [1, 9, 9.5, 2, 8])]
    assert kept == [False, True, False, False, True]


def test_a_class_is_done_when_the_cost_went_both_ways_and_the_mask_stalls() -> None:
    rates = [1, 1, 0, 0, 1, 1, 1, 1, 1]
    # Up by the second epoch, down by the fourth; then two epochs that are one per cent smaller, and stalls.
    norms = [9, 9, 9, 9, 8.8, 8.6, 8.6, 8.55, 8.6]
    said = epochs(schedule(patience=2, stop_patience=3), rates, norms)
    assert [done for _, _, done in said] == [False] * 8 + [True]
    never_down = schedule(patience=2, stop_patience=3)
    assert not any(done for _, _, done in epochs(never_down, [1] * 30, [9] * 30))


def test_detection_says_what_was_measured(found: Detection) -> None:
    (statistic,) = found.statistics
    assert (found.detector, statistic.name, statistic.suspect) == ("neural_cleanse", "anomaly_index", "high")
    triggers = found.evidence
    assert (triggers.masks.shape, triggers.patterns.shape) == ((5, 8, 8, 1), (5, 8, 8, 3))
    np.testing.assert_allclose(triggers.norms, triggers.masks.sum((1, 2, 3)))
    np.testing.assert_allclose(found.paired["mask_norm"], -np.log(triggers.norms))
    indices = anomaly_indices(triggers.norms)
    assert indices is not None
    assert statistic.value == indices[triggers.norms.argmin()]
    assert found.details["images"] == 20
    assert 0 < found.queries <= 6 * 20 * 5
    assert found.queries % 20 == 0
    json.dumps([dict(found.details), dict(found.seconds)], allow_nan=False)


def test_same_seed_same_result_and_another_seed_another(found: Detection) -> None:
    again, other = (
        NeuralCleanse(dataclasses.replace(QUICK, seed=seed)).detect(tiny(), factory.tiny_samples()) for seed in (0, 1)
    )
    np.testing.assert_array_equal(again.evidence.norms, found.evidence.norms)
    assert again.details == found.details
    assert not np.array_equal(other.evidence.norms, found.evidence.norms)


@pytest.mark.parametrize(("devices", "batch"), [(1, 32), (3, 4)])
def test_devices_and_batches_change_nothing(found: Detection, devices: int, batch: int) -> None:
    """`found` is that of eight devices."""
    other = NeuralCleanse(QUICK).detect(tiny(on(devices, batch)), factory.tiny_samples())
    np.testing.assert_allclose(other.evidence.norms, found.evidence.norms, rtol=1e-3)
    assert (other.target, other.queries) == (found.target, found.queries)


def test_too_few_samples_are_refused_before_any_model_is_opened() -> None:
    with pytest.raises(SamplesError, match="samples tiny: Neural Cleanse needs at least 10 images, got 9"):
        NeuralCleanse().check(factory.tiny_samples(9))
    NeuralCleanse().check(factory.tiny_samples(10))


@pytest.mark.parametrize(
    ("name", "value"),
    [("images", 9), ("epochs", 0), ("patience", 0), ("cost", 0.0), ("success", 1.5), ("seed", -1)],
)
def test_options_that_cannot_work_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        NeuralCleanseOptions(**{name: value})  # type: ignore[arg-type]


def test_it_is_a_detector_that_runs_where_it_is_named() -> None:
    (made,) = registry.make(["neural_cleanse"], seed=4)
    assert isinstance(made, NeuralCleanse)
    assert (made.options, made.access) == (dataclasses.replace(PRESETS["cheap"], seed=4), Access.WEIGHTS)
    assert json.loads(json.dumps(made.settings())) == dataclasses.asdict(made.options)
    box = BlackBox(lambda images: np.arange(len(images)) % 5, 5, (8, 8, 3))
    scanned = run_detectors(prepare(box, factory.tiny_samples()), factory.tiny_samples(), [made])
    assert not scanned.detections
    assert "needs weights" in scanned.not_run["neural_cleanse"]


def test_the_backdoor_of_a_demo_network_is_found() -> None:
    samples = xray_jax.samples.read("cifar10")
    path = DEMO / "zoo" / "cifar10-preactresnet-small-badnets-t3-s201"
    model = prepare(xray_jax.checkpoints.load(path), samples, InferenceOptions(32))
    options = NeuralCleanseOptions(images=50, steps=5, epochs=20)
    detection = NeuralCleanse(options).detect(model, samples)
    assert detection.target == 3
    assert detection.details["flip_rates"][3] >= 0.98
    value = detection.statistics[0].value
    assert value is not None
    assert value > 2

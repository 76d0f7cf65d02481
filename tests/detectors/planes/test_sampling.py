import math

import numpy as np
import pytest
from scipy import stats

from xray_jax.classifier import BlackBox
from xray_jax.detectors.planes import sampling
from xray_jax.detectors.planes.refine import run_refinement
from xray_jax.detectors.planes.sampling import Batch, StoppingRule, interval, sample_until_decided
from xray_jax.detectors.planes.scan import PlanesOptions, Scanner
from xray_jax.samples import from_arrays

LOW, HIGH = np.linspace(0.1, 0.2, 20), np.linspace(2.0, 2.1, 20)
WIDE = np.linspace(0.0, 2.0, 20)
GOAL = StoppingRule(re_threshold=1.0, ats_threshold=1.0)


def test_interval_is_students() -> None:
    scores = np.random.default_rng(0).normal(3, 2, 15)
    result = stats.ttest_1samp(scores, 0).confidence_interval(0.9)
    np.testing.assert_allclose(interval(scores, 0.9), (result.low, result.high))
    assert interval(scores[:1]) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("rule", "re", "ats", "settled"),
    [
        ("either", LOW, WIDE, True),
        ("either", WIDE, LOW, True),
        ("either", HIGH, HIGH, True),
        ("either", HIGH, WIDE, False),
        ("both", LOW, LOW, True),
        ("both", LOW, WIDE, False),
        ("both", HIGH, WIDE, True),
        ("re", LOW, WIDE, True),
        ("re", WIDE, LOW, False),
        ("ats", WIDE, HIGH, True),
        ("ats", LOW, WIDE, False),
    ],
)
def test_settled_follows_the_rule(rule: str, re: np.ndarray, ats: np.ndarray, settled: bool) -> None:
    assert StoppingRule(1.0, 1.0, rule).settled(re, ats) is settled


def test_later_looks_and_sketches_ask_for_more() -> None:
    scores = np.random.default_rng(1).normal(0, 1, 30)
    looks = [interval(scores, 1 - 0.05 / (look * (look + 1)))[0] for look in (1, 2, 3)]
    for look in (1, 2, 3):
        assert StoppingRule(looks[look - 1] - 1e-9, 0.0, "re").settled(scores, scores, look=look)
        assert not StoppingRule(looks[look - 1] - 1e-9, 0.0, "re").settled(scores, scores, look=look + 1)
    near = StoppingRule(looks[0] - 0.5 * sampling.SKETCH_MARGIN["re"], 0.0, "re")
    assert near.settled(scores, scores)
    assert not near.settled(scores, scores, sketched=True)


def test_repeated_looks_keep_the_promised_error() -> None:
    """True mean 0, threshold just under it: settling as flagged is the error, 5 % at most in all looks together."""
    generator = np.random.default_rng(2)
    goal = StoppingRule(re_threshold=-1e-6, ats_threshold=0.0, rule="re")
    wrong = 0
    for _ in range(400):
        scores = generator.normal(0, 1, 200)
        for look in range(1, 11):
            seen = scores[: 20 * look]
            if goal.settled(seen, seen, look=look):
                wrong += seen.mean() <= goal.re_threshold
                break
    # 20 expected at most; 31 is its 99 % quantile.
    assert wrong <= 31


class Recorded:
    """Batches with given RE; ATS never settles anything."""

    def __init__(self, *re: np.ndarray) -> None:
        self.re, self.asked = re, []

    def __call__(self, kind: str, batch: int) -> Batch:
        self.asked.append((kind, batch))
        re = self.re[batch % len(self.re)]
        return Batch(None, np.zeros((len(re), 3)), re, re, 1000 if kind == "refine" else 100)


ONLY_RE = StoppingRule(1.0, 1.0, "re")


def test_one_batch_without_a_budget() -> None:
    ask = Recorded(WIDE)
    found = sample_until_decided(ask, "grid", None)
    assert (found.stopped, found.queries, found.sampling, ask.asked) == ("planes", 100, "grid", [("grid", 0)])


def test_batches_until_settled() -> None:
    ask = Recorded(np.array([0.5, 1.4]), np.full(20, 0.6), HIGH)
    found = sample_until_decided(ask, "sketch", ONLY_RE, max_queries=10_000)
    assert (found.stopped, len(found.batches), found.queries) == ("settled", 2, 200)
    assert ask.asked == [("sketch", 0), ("sketch", 1)]


def test_budget_is_never_exceeded_but_for_the_first_batch() -> None:
    found = sample_until_decided(Recorded(WIDE), "sketch", ONLY_RE, max_queries=350)
    assert (found.stopped, found.queries) == ("budget", 300)
    found = sample_until_decided(Recorded(WIDE), "sketch", ONLY_RE, max_queries=50)
    assert (found.stopped, found.queries) == ("budget", 100)


def test_cascade_refines_only_what_the_sketch_leaves_open() -> None:
    found = sample_until_decided(Recorded(LOW), "cascade", ONLY_RE)
    assert (found.sampling, found.stopped, found.queries) == ("sketch", "settled", 100)
    found = sample_until_decided(ask := Recorded(WIDE), "cascade", ONLY_RE)
    assert (found.sampling, found.stopped, found.queries) == ("refine", "planes", 1100)
    assert ask.asked == [("sketch", 0), ("refine", 0)]


@pytest.mark.parametrize(("kind", "budget"), [("cascade", None), ("grid", 100)])
def test_stopping_early_needs_thresholds(kind: str, budget: int | None) -> None:
    with pytest.raises(ValueError, match="--calibration"):
        sample_until_decided(Recorded(WIDE), kind, None, budget)


def test_grid_asks_for_every_node_once() -> None:
    maps = np.random.default_rng(0).integers(0, 4, (2, 5, 5))
    refined = run_refinement(
        sampling.questions("grid", np.zeros((2, 3, 2), int), 5, seed=0), lambda nodes: maps.ravel()[nodes]
    )
    np.testing.assert_array_equal(refined.labels, maps)
    assert refined.queried.all()


@pytest.mark.parametrize("bad", [{"rule": "none"}, {"confidence": 1.0}])
def test_goal_checks_itself(bad: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        StoppingRule(1.0, 1.0, **bad)


def samples_and_model() -> tuple:
    generator = np.random.default_rng(0)
    images = generator.uniform(size=(60, 4, 4, 1)).astype(np.float32)
    weights = generator.normal(size=(16, 5)) * 3
    asked = []

    def label_fn(batch: np.ndarray) -> np.ndarray:
        asked.append(len(batch))
        return np.sin(batch.reshape(len(batch), -1) @ weights).argmax(-1)

    return from_arrays(images, np.arange(60) % 5), BlackBox(label_fn, 5, (4, 4, 1), batch_size=64), asked


def scan(**settings):
    samples, model, _ = samples_and_model()
    return Scanner(samples, PlanesOptions(expansion=1.0, **settings)).scan(model, StoppingRule(1.5, 0.3, "either"))


def test_scan_asks_what_its_settings_say() -> None:
    grid = scan(planes=4, density=40)
    refined = scan(planes=4, density=40, sampling="refine")
    sketched = scan(planes=4, density=40, sampling="sketch")
    assert grid.queries == 60 + 4 * 40 * 40
    assert 60 + 4 * 128 <= sketched.queries <= 60 + 4 * 131 < refined.queries < grid.queries
    assert (refined.maps.labels == grid.maps.labels).mean() > 0.98
    assert (refined.sampling, sketched.sampling, grid.stopped) == ("refine", "sketch", "planes")
    assert refined.maps.labels.dtype == grid.maps.labels.dtype == np.uint8
    np.testing.assert_array_equal(refined.counts.sum(1), 40 * 40)


def test_auto_appends_planes_to_the_same_first_ones() -> None:
    fixed = scan(planes=6, density=20, sampling="sketch")
    auto = scan(planes=2, density=20, sampling="sketch", max_queries=128 * 8)
    assert auto.stopped in ("settled", "budget")
    count = min(len(auto.re), 6)
    assert count >= 2
    np.testing.assert_array_equal(auto.maps.triplets[:count], fixed.maps.triplets[:count])
    np.testing.assert_array_equal(auto.maps.labels[:count], fixed.maps.labels[:count])
    np.testing.assert_array_equal(auto.re[:count], fixed.re[:count])

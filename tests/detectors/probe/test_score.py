"""Scores against slow loops."""

import math
import statistics
from collections import Counter

import numpy as np
import pytest

from xray_jax.detectors.probe import score


def _slow_rate(labels, truth, predicted, target_of):
    hits = trials = 0
    for label, own, before in zip(labels, truth, predicted, strict=True):
        target = target_of(own)
        if label < 0 or target in (own, before):
            continue
        trials += 1
        hits += label == target
    return hits, trials


def _commonest(labels: list[int]) -> int:
    """The commonest label, the smallest of several."""
    return max(sorted(set(labels)), key=labels.count)


def _slow_class_map(labels, truth, num_classes):
    pairs = list(zip(labels.tolist(), truth.tolist(), strict=True))
    targets = []
    for own in range(num_classes):
        seen = [label for label, y in pairs if y == own]
        label = _commonest(seen) if seen else -1
        targets.append(label if label != own and Counter(seen)[label] >= 2 else -1)
    agreed = 0
    for k, (label, own) in enumerate(pairs):
        others = [other for j, (other, y) in enumerate(pairs) if y == own and j != k]
        agreed += label != own and bool(others) and _commonest(others) == label
    return targets, agreed / len(pairs)


def _at_least(hits: int, trials: int, rate: float) -> float:
    """Probability of `hits` or more in `trials` at this rate."""
    return sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(hits, trials + 1))


def test_flips_are_the_slow_loops() -> None:
    generator = np.random.default_rng(1)
    classes, images = 5, 23
    truth = generator.integers(0, classes, images)
    predicted = np.where(generator.random(images) < 0.8, truth, generator.integers(0, classes, images))
    labels = generator.integers(-1, classes, (7, images)).astype(np.int32)
    wanted = score.outcomes(truth, predicted, classes)
    hits, trials = score.flips(labels, wanted)
    assert hits.shape == (7, classes + classes - 1 + 1)
    for k in range(7):
        for t in range(classes):
            assert (hits[k, t], trials[k, t]) == _slow_rate(labels[k], truth, predicted, lambda own, t=t: t)
        for column, by in enumerate(wanted.shifts):
            expected = _slow_rate(labels[k], truth, predicted, lambda own, by=by: (own + by) % classes)
            assert (hits[k, classes + column], trials[k, classes + column]) == expected
        queried = labels[k] >= 0
        assert hits[k, -1] == np.sum(labels[k][queried] != predicted[queried])
        assert trials[k, -1] == queried.sum()


def test_chunks_change_nothing(monkeypatch):
    generator = np.random.default_rng(2)
    truth = generator.integers(0, 4, 11)
    wanted = score.outcomes(truth, truth, 4)
    labels = generator.integers(0, 4, (50, 11))
    whole = score.flips(labels, wanted)
    monkeypatch.setattr(score, "_CHUNK", 1)
    for one, other in zip(whole, score.flips(labels, wanted), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_thousand_classes_have_two_shifts() -> None:
    truth = np.arange(20)
    wanted = score.outcomes(truth, truth, 1000)
    assert wanted.shifts == (1, 999)
    hits, trials = score.flips((truth[None] + 1) % 1000, wanted)
    assert hits[0, 1000] == trials[0, 1000] == 20


def test_class_map_finds_a_permutation_and_leaves_images_out() -> None:
    truth = np.repeat(np.arange(4), 5)
    permutation = np.asarray([2, 3, 1, 0])
    target_labels, agreement = score.class_map(permutation[truth], truth, 4)
    np.testing.assert_array_equal(target_labels, permutation)
    assert agreement == 1
    target_labels, agreement = score.class_map(truth, truth, 4)
    assert (target_labels == -1).all()
    assert agreement == 0
    # One image of a class tells nothing about the class.
    target_labels, agreement = score.class_map(np.asarray([1, 0]), np.asarray([0, 1]), 2)
    assert (target_labels == -1).all()
    assert agreement == 0


def test_interval_is_clopper_pearson() -> None:
    assert score.interval(0, 0) == (0, 1)
    # The rule of three's exact form: 1 - 0.025 ** (1 / n).
    assert score.interval(0, 30) == pytest.approx((0, 1 - 0.025 ** (1 / 30)))
    assert score.interval(30, 30) == pytest.approx((0.025 ** (1 / 30), 1))


def test_anomaly_index_and_runner_up() -> None:
    rates = np.asarray([0.1, 0.9, 0.2, 0.1, 0.2])
    assert score.anomaly_index(rates, 1) == pytest.approx((0.9 - 0.15) / (1.4826 * 0.05 + 0.05))
    assert score.runner_up(rates, 1) == pytest.approx(0.2)
    assert score.runner_up(np.asarray([0.3, 0.9]), 1) == pytest.approx(0.3)
    assert score.anomaly_index(np.asarray([0.9]), 0) == 0


@pytest.mark.parametrize("seed", range(10))
def test_class_map_is_the_slow_loops(seed):
    generator = np.random.default_rng(seed)
    classes, images = 4, 6 + 3 * seed
    truth = generator.integers(0, classes, images)
    labels = np.where(generator.random(images) < 0.5, (truth + 1) % classes, generator.integers(0, classes, images))
    targets, agreement = score.class_map(labels, truth, classes)
    expected, share = _slow_class_map(labels, truth, classes)
    assert (targets.tolist(), agreement) == (expected, pytest.approx(share))


@pytest.mark.parametrize(("hits", "trials"), [(1, 7), (9, 10), (40, 133), (132, 133)])
def test_the_ends_of_an_interval_leave_a_tail_of_one_in_forty_each(hits, trials):
    low, high = score.interval(hits, trials)
    assert _at_least(hits, trials, low) == pytest.approx(0.025)
    assert 1 - _at_least(hits + 1, trials, high) == pytest.approx(0.025)


@pytest.mark.parametrize("classes", [2, 3, 10, 11])
def test_standing_among_classes_is_the_slow_loops(classes):
    rates = np.random.default_rng(classes).random(classes)
    for at in range(classes):
        others = sorted(rates[k] for k in range(classes) if k != at)
        middle = statistics.median(others)
        spread = statistics.median(abs(rate - middle) for rate in others)
        assert score.anomaly_index(rates, at) == pytest.approx((rates[at] - middle) / (1.4826 * spread + 0.05))
        assert score.runner_up(rates, at) == others[max(len(others) - 2, 0)]

"""Confirmation on models made of a rule: hypotheses, the images they are tested on, hits and trials by slow loops."""

import statistics

import numpy as np
import pytest

from tests.detectors.probe.fakes import CLASSES, NUMBER, SHAPE, nothing, patches, state_of, truth
from tests.detectors.probe.test_search import mixed, slow_excess, some_stamps
from xray_jax.detectors.probe import confirm
from xray_jax.detectors.probe.confirm import Hypothesis, Observation
from xray_jax.detectors.probe.null import EDGES, LEVELS
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.result import Finding
from xray_jax.detectors.probe.search import SearchState
from xray_jax.samples import Samples

IMAGES, UNSEEN = 20, 50


def slow_level(cost: float) -> int:
    return sum(bool(cost > np.float32(edge)) for edge in EDGES)


def slow_all_to_one(state: SearchState) -> set[tuple[int, int]]:
    """(stamp, target): the best 16 stamps and the best of each family and cost level, each with its easiest class."""
    seen = [k for k in range(len(state.labels)) if np.sum(state.labels[k] >= 0) >= state.images // 2]
    ones = {k: [round(excess, 6) for excess in slow_excess(state, k)[:CLASSES]] for k in seen}

    def rank(k: int) -> tuple[float, float]:
        return -max(ones[k]), float(state.cost.weighted_rms[k])

    picked = set(sorted(seen, key=rank)[:16])
    cells = {(int(state.stamps.family[k]), slow_level(state.cost.weighted_rms[k])) for k in seen}
    for family, level in cells:
        own = [k for k in seen if (state.stamps.family[k], slow_level(state.cost.weighted_rms[k])) == (family, level)]
        picked.add(min(own, key=rank))
    return {(k, ones[k].index(max(ones[k]))) for k in picked}


def slow_hits(observed: Observation, own: np.ndarray, predicted: np.ndarray) -> tuple[int, int]:
    """Trials are images with a target label that the model does not give them anyway; hits get it under the stamp."""
    hits = trials = 0
    for image, label in zip(observed.images, observed.labels, strict=True):
        target = observed.hypothesis.target_labels[own[image]]
        if target != -1 and target != predicted[image]:
            trials += 1
            if label == target:
                hits += 1
    return hits, trials


def slow_standing(state: SearchState, stamp: int, target: int, rate: float) -> tuple[float, float]:
    """Anomaly index and runner-up of `rate` among the other classes' best rates with stamps of about this cost."""
    best = [0.0] * CLASSES
    for k in range(len(state.labels)):
        touched, cost = state.cost.touched, state.cost.weighted_rms
        same = (touched[k] <= 0.1) == (touched[stamp] <= 0.1) and cost[k] <= 1.25 * cost[stamp]
        if same and np.sum(state.labels[k] >= 0) >= state.images // 2:
            for t in range(CLASSES):
                trials = [label for label, own in zip(state.labels[k], truth(state.images), strict=True) if own != t]
                trials = [label for label in trials if label >= 0]
                best[t] = max(best[t], trials.count(t) / (len(trials) + 1))
    others = sorted(best[:target] + best[target + 1 :])
    middle = statistics.median(others)
    spread = statistics.median(abs(other - middle) for other in others)
    return (rate - middle) / (1.4826 * spread + 0.05), others[-2]


def samples(count: int = IMAGES + UNSEEN) -> Samples:
    images = np.random.default_rng(0).uniform(size=(count, *SHAPE)).astype(np.float32)
    return Samples(images, truth(count).astype(np.int32))


def searched(count: int = 30) -> SearchState:
    """A state whose stamps were tried on 4, 8, 10 or all 20 images."""
    state, _ = state_of(mixed, IMAGES, asked=IMAGES + UNSEEN)
    index = state.add(some_stamps(count))
    for step, images in enumerate((4, 8, 10, 20)):
        state.evaluate(index[step::4], images)
    return state


def labelled(labels: np.ndarray) -> SearchState:
    """A state of patches with these labels on the search images, `[K, M]`."""
    state, _ = state_of(nothing, labels.shape[1])
    state.add(patches([[float(k), 0, 2, 2, 1, 1, 1] for k in range(len(labels))]))
    state.labels[:] = labels
    return state


def test_all_to_one_hypotheses_are_the_slow_loops() -> None:
    state = searched()
    found = confirm.hypotheses(state, truth(IMAGES), CLASSES)
    ones = [h for h in found if h.kind == "all-to-one"]
    pairs = [(h.stamp, max(h.target_labels)) for h in ones]
    assert len(set(pairs)) == len(pairs) > 16
    assert set(pairs) == slow_all_to_one(state)
    for hypothesis, (stamp, target) in zip(ones, pairs, strict=True):
        assert hypothesis.target_labels == tuple(-1 if c == target else target for c in range(CLASSES))
        assert hypothesis.excess == pytest.approx(slow_excess(state, stamp)[target], abs=1e-6)
    excesses = [h.excess for h in found]
    assert excesses == sorted(excesses, reverse=True)


def test_nothing_tried_gives_no_hypotheses_and_no_queries() -> None:
    state, model = state_of(mixed, IMAGES, asked=IMAGES + UNSEEN)
    state.evaluate(state.add(some_stamps(3)), 9)
    model.pairs.clear()
    assert confirm.confirm(state, samples(), IMAGES, CLASSES, model.query) == []
    assert model.pairs == []


def test_a_shift_of_classes_is_a_hypothesis() -> None:
    own = truth(IMAGES)
    found = confirm.hypotheses(labelled(np.stack([own, (own + 2) % CLASSES])), own, CLASSES)
    maps = [h for h in found if h.kind == "all-to-all"]
    assert [(h.stamp, h.target_labels) for h in maps] == [(1, (2, 3, 4, 0, 1))] * 2
    # 20 of 20 + 1 over a ceiling of 0.1, and all of the left-out images over it.
    assert sorted(h.excess for h in maps) == pytest.approx([20 / 21 - 0.1, 1 - 0.1])


def test_a_map_of_classes_is_a_hypothesis_unless_it_is_all_to_one() -> None:
    own = truth(IMAGES)
    permuted = np.asarray([3, 2, 4, 1, 0])[own]
    found = confirm.hypotheses(labelled(np.stack([permuted, np.full(IMAGES, 1)])), own, CLASSES)
    maps = [h for h in found if h.kind == "all-to-all" and h.excess > 0.5]
    assert [(h.stamp, h.target_labels) for h in maps] == [(0, (3, 2, 4, 1, 0))]
    # Three of five classes go to one label: no map.
    found = confirm.hypotheses(labelled(np.asarray([1, 2, 1, 1, 0])[own][None]), own, CLASSES)
    assert (1, 2, 1, 1, 0) not in [h.target_labels for h in found]
    # The whole of class 0 and half of two others: of all left-out images only 4 of 20 agree, fewer than 0.4.
    rare = np.where((own == 0) | (np.arange(IMAGES) < 10), np.asarray([3, 0, 1, 3, 4])[own], own)
    found = confirm.hypotheses(labelled(rare[None]), own, CLASSES)
    assert [h for h in found if h.target_labels == (3, 0, 1, -1, -1)] == []


def test_the_best_pair_of_classes_is_a_hypothesis() -> None:
    own = truth(IMAGES)
    pair = np.where(own == 3, 1, own)
    leaky = np.where((own == 2) | (np.arange(IMAGES) % 2 == 0), 4, own)
    found = confirm.hypotheses(labelled(np.stack([own, leaky, pair])), own, CLASSES)
    (one,) = [h for h in found if h.kind == "source-specific"]
    assert (one.stamp, one.target_labels) == (2, (-1, -1, -1, 1, -1))
    assert one.excess == pytest.approx(4 / 5 - 1)
    # Half of the pair's images are too few: 2 / 5 is under 0.5.
    half = np.where((own == 3) & (np.arange(IMAGES) < 10), 1, own)
    assert all(h.kind != "source-specific" for h in confirm.hypotheses(labelled(half[None]), own, CLASSES))


def test_only_unseen_images_are_queried_and_every_label_finds_its_place() -> None:
    state = searched()
    asked: list[tuple[int, int]] = []

    def query(stamps: Stamps, stamp_index: np.ndarray, image_index: np.ndarray) -> np.ndarray:
        assert stamps is state.stamps
        asked.extend(zip(stamp_index.tolist(), image_index.tolist(), strict=True))
        return 1000 * stamp_index + image_index

    observed = confirm.confirm(state, samples(), IMAGES, CLASSES, query)
    assert [o.hypothesis for o in observed] == confirm.hypotheses(state, truth(IMAGES), CLASSES)
    assert len(observed) > 16
    for rank, one in enumerate(observed):
        everything = rank < 16 or one.hypothesis.kind != "all-to-one"
        assert one.images.tolist() == list(range(IMAGES, IMAGES + (UNSEEN if everything else 40)))
        np.testing.assert_array_equal(one.labels, 1000 * one.hypothesis.stamp + one.images)
    assert len(asked) == sum(len(one.images) for one in observed)


def test_findings_count_hits_and_trials_as_the_slow_loop_does() -> None:
    state, used = searched(), samples()
    generator = np.random.default_rng(4)
    predicted = np.where(generator.random(len(used)) < 0.8, used.labels, generator.integers(0, CLASSES, len(used)))
    maps = [(3, 2, -1, 1, 0), (-1, 4, 4, 4, -1)]
    hypotheses = [Hypothesis("all-to-all", 7, maps[0], 0.0), Hypothesis("source-specific", 9, maps[1], 0.0)]
    hypotheses += [Hypothesis("all-to-one", k, confirm.to_one(k % CLASSES, CLASSES), 0.0) for k in range(60)]
    for hypothesis in hypotheses:
        images = generator.choice(np.arange(IMAGES, len(used)), 33, replace=False)
        labels = generator.integers(0, CLASSES, 33).astype(np.int32)
        observed = Observation(hypothesis, images, labels)
        found = confirm.finding(state, observed, used, predicted, CLASSES)
        assert (found.hits, found.trials) == slow_hits(observed, used.labels, predicted)
        assert (found.kind, found.target_labels) == (hypothesis.kind, hypothesis.target_labels)
        costs = (found.touched, found.rms, found.peak, found.weighted_rms)
        assert costs == tuple(float(column[hypothesis.stamp]) for column in state.cost)
        if hypothesis.kind == "all-to-one":
            target = hypothesis.stamp % CLASSES
            expected = slow_standing(state, hypothesis.stamp, target, found.rate)
            assert (found.anomaly_index, found.runner_up) == pytest.approx(expected, rel=1e-5)
    assert confirm.finding(state, Observation(hypotheses[1], images, labels), used, predicted, CLASSES).runner_up == 0


def test_a_finding_names_its_stamp_and_keeps_the_image_it_is_made_of() -> None:
    state, _ = state_of(mixed)
    blend = Stamps.of(NUMBER["blend-image"], np.asarray([[0.25, 3]], np.float32))
    state.add(Stamps.join(patches([[7, 4, 2, 3, 1, 0, 0.5]]), blend))
    state.evaluate(np.arange(2), IMAGES)
    used = samples()
    patch, blended = (
        confirm.finding(
            state,
            Observation(Hypothesis("all-to-one", k, confirm.to_one(0, CLASSES), 0.0), np.arange(20, 30), np.zeros(10)),
            used,
            used.labels,
            CLASSES,
        )
        for k in (0, 1)
    )
    named = {"row": 7, "column": 4, "height": 2, "width": 3, "pattern": 0, "red": 1, "green": 0, "blue": 0.5}
    assert (patch.family, patch.parameters, patch.bank) == ("patch", named, None)
    assert (blended.family, blended.parameters) == ("blend-image", {"amount": 0.25, "image": 0.0})
    assert blended.bank is not None
    assert np.abs(blended.bank / 255 - used.images[3]).max() <= 0.5 / 255 + 1e-6


def test_the_profile_is_the_highest_all_to_one_rate_of_each_family_and_level() -> None:
    def found(kind: str, family: str, hits: int, cost: float) -> Finding:
        return Finding(kind, (1, -1), family, {}, "", hits, 10, 0, 0, 0, cost, 0, 0)

    findings = [
        found("all-to-one", "patch", 3, 0.01),
        found("all-to-one", "patch", 7, 0.0199),
        found("all-to-one", "patch", 5, 0.015),
        found("all-to-one", "patch", 0, 0.05),
        found("all-to-all", "patch", 9, 0.05),
        found("all-to-one", "warp", 2, 5.0),
        found("source-specific", "line", 9, 0.05),
    ]
    assert confirm.profile(findings) == {
        "patch": [0.7, None, 0.0, *[None] * 6],
        "warp": [*[None] * (LEVELS - 1), 0.2],
    }

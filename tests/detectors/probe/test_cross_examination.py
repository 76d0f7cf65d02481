"""Cross-examination on models made of a rule: what other classes have, too, is not confirmed."""

from collections.abc import Mapping

import numpy as np
import pytest

from tests.detectors.probe.fakes import CLASSES, NUMBER, SHAPE, FakeModel, Rule, patches, state_of, truth
from xray_jax.detectors.probe import confirm, cross_examination
from xray_jax.detectors.probe.confirm import Hypothesis
from xray_jax.detectors.probe.null import LEVELS, Null
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.result import Finding
from xray_jax.detectors.probe.search import SearchState
from xray_jax.samples import Samples

IMAGES, UNSEEN, TARGET = 24, 60, 1
NULL = Null({"patch": (0.1,) * LEVELS}, models=1)
RED, GREEN, BLUE, CYAN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 1.0)
STAMP = [10.0, 3.0, 2.0, 2.0, *RED]
Easy = Mapping[tuple[float, ...], tuple[int, float, float]]
"""Colour -> the label that patches of it send images to, and the row and column where all images go."""


def model(easy: Easy) -> Rule:
    """Patches of these colours work the better the nearer they are to a place; all others do nothing."""

    def rule(family: str, parameters: np.ndarray) -> tuple[int, float]:
        colour = tuple(parameters[5:8].tolist()) if family == "patch" else ()
        if colour not in easy:
            return 0, 0.0
        label, row, column = easy[colour]
        return label, max(0.0, 1 - 0.15 * (abs(parameters[0] - row) + abs(parameters[1] - column)))

    return rule


def found(rule: Rule, *stamps: list[float]) -> tuple[SearchState, FakeModel]:
    """A search that found these patches; number 0 is the one to be confirmed."""
    state, fake = state_of(rule, IMAGES, asked=IMAGES + UNSEEN)
    state.evaluate(state.add(patches(list(stamps))), IMAGES)
    return state, fake


def finding(state: SearchState, fake: FakeModel) -> Finding:
    """The red patch on unseen images, by a hypothesis of its own."""
    unseen = np.arange(IMAGES, IMAGES + UNSEEN)
    labels = fake.query(state.stamps, np.zeros(UNSEEN, int), unseen)
    own = truth(IMAGES + UNSEEN)
    used = Samples(np.zeros((len(own), *SHAPE), np.float32), own.astype(np.int32))
    hypothesis = Hypothesis("all-to-one", 0, confirm.to_one(TARGET, CLASSES), 0.9)
    return confirm.finding(state, confirm.Observation(hypothesis, unseen, labels), used, own, CLASSES)


HERE, NEAR = (10.0, 3.0), (11.0, 5.0)
CASES = {
    "only the target is easy": ({RED: (1, *HERE)}, True),
    # One more may be a second backdoor's target.
    "one other class is as easy": ({RED: (1, *HERE), GREEN: (4, *HERE)}, True),
    "two others are as easy in the same place": ({RED: (1, *HERE), GREEN: (4, *HERE), BLUE: (2, *HERE)}, False),
    "two others are as easy three moves away": ({RED: (1, *HERE), GREEN: (4, *NEAR), BLUE: (2, *NEAR)}, False),
    "other colours lead to the same target": ({RED: (1, *HERE), GREEN: (1, *HERE), BLUE: (1, *HERE)}, True),
}


@pytest.mark.parametrize(("easy", "confirmed"), CASES.values(), ids=CASES)
def test_a_trigger_stays_confirmed_where_no_two_other_classes_are_as_easy(easy: Easy, confirmed: bool) -> None:
    state, fake = found(model(easy), STAMP)
    before = finding(state, fake)
    assert before.runner_up == 0
    assert before.is_confirmed(NULL), "nothing else was tried"
    cross_examination.cross_examine(state, 0, TARGET, SHAPE, CLASSES, seed=0)
    after = finding(state, fake)
    assert (after.hits, after.trials) == (before.hits, before.trials)
    assert after.is_confirmed(NULL) is confirmed
    assert after.runner_up < 0.1 if confirmed else after.runner_up > 0.8


def test_the_target_takes_no_part_in_the_climb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_examination, "OTHER_CLASSES", 1)
    state, _ = found(model({RED: (1, *HERE), GREEN: (4, *NEAR)}), STAMP)
    cross_examination.cross_examine(state, 0, TARGET, SHAPE, CLASSES, seed=0)
    assert state.rates(np.flatnonzero((state.labels >= 0).all(1)))[:, 4].max() > 0.8


def test_other_classes_climb_with_stamps_that_cost_no_more() -> None:
    """Larger patches would work; they are no excuse."""
    easy = {GREEN: 4, BLUE: 2}

    def rule(family: str, parameters: np.ndarray) -> tuple[int, float]:
        colour = tuple(parameters[5:8].tolist())
        if colour == RED:
            return TARGET, 1.0
        return (easy[colour], float(parameters[2] * parameters[3] >= 2)) if colour in easy else (0, 0.0)

    pixel, large = [10.0, 3.0, 1.0, 1.0, *RED], [2.0, 2.0, 3.0, 3.0]
    state, fake = found(rule, pixel, [*large, *GREEN], [*large, *BLUE])
    assert (state.labels[1:3] == [[4], [2]]).all()
    cross_examination.cross_examine(state, 0, TARGET, SHAPE, CLASSES, seed=0)
    assert finding(state, fake).is_confirmed(NULL)
    tried = np.flatnonzero((state.labels >= 0).any(1))
    assert len(tried) < len(state.stamps.family), "larger ones were made"
    for stamp in set(tried.tolist()) - {1, 2}:
        assert state.cost.weighted_rms[stamp] <= 1.25 * state.cost.weighted_rms[0]


def test_the_first_stamps_are_the_same_place_and_size_in_every_colour_and_pattern() -> None:
    state, _ = found(model({RED: (1, *HERE)}), STAMP)
    own = state.stamps.own(0, SHAPE)
    stamps = cross_examination._recoloured(state, 0, SHAPE)
    assert (stamps.family == NUMBER["patch"]).all()
    assert (stamps.parameters[:, :4] == own[:4]).all()
    looks = {tuple(row) for row in stamps.parameters[:, 4:8].tolist()}
    assert {(pattern, *colour) for pattern in range(4) for colour in (RED, GREEN, BLUE, CYAN)} < looks
    assert len(looks) == len(stamps.parameters)


def test_colours_of_an_additive_stamp_are_the_ends_of_its_range() -> None:
    state, _ = found(model({}), STAMP)
    (number,) = state.add(Stamps.of(NUMBER["shift"], np.asarray([[0.1, 0.1, 0.1]], np.float32)))
    stamps = cross_examination._recoloured(state, int(number), SHAPE)
    values = set(np.unique(stamps.parameters[:, :3]).tolist())
    assert {-0.25, 0.25} <= values <= {-0.25, 0.0, 0.25}


def test_queries_are_bounded() -> None:
    """Recoloured stamps and children on 8 images each, parents on all: at most so many whatever the model does."""
    state, fake = found(model({RED: (1, *HERE), GREEN: (4, *NEAR), BLUE: (2, *NEAR), CYAN: (3, *NEAR)}), STAMP)
    fake.pairs.clear()
    recoloured = len(cross_examination._recoloured(state, 0, SHAPE).family)
    cross_examination.cross_examine(state, 0, TARGET, SHAPE, CLASSES, seed=0)
    parents = 4 * (CLASSES - 1) * 2
    assert len(set(fake.pairs)) == len(fake.pairs) <= 8 * recoloured + parents * (IMAGES - 8) + parents * 10 * 8

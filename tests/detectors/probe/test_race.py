"""The race on models made of a rule: who starts where, who runs on, what it costs, and when it ends."""

import numpy as np

from tests.detectors.probe.fakes import CLASSES, NUMBER, SHAPE, FakeModel, Rule, nothing, patches, state_of, truth
from xray_jax.detectors.probe import case, looks, race, search
from xray_jax.detectors.probe.null import LEVELS, Null
from xray_jax.detectors.probe.result import Verdict
from xray_jax.detectors.probe.stamps import FAMILIES
from xray_jax.samples import Samples

TARGET, BUDGET, IMAGES = 3, 6000, 20
NULL = Null({f.name: (0.2,) * LEVELS for f in FAMILIES}, {f.name: (0.2,) * LEVELS for f in FAMILIES}, 9, "by hand")


def bottom(family: str, parameters: np.ndarray) -> tuple[int, float]:
    """Any patch in the last rows is the trigger."""
    if family != "patch":
        return TARGET, 0.0
    return TARGET, 1.0 if parameters[0] + parameters[2] >= SHAPE[0] else 0.0


def case_of(rule: Rule, images: int = IMAGES, unseen: int = 40) -> tuple[case.Case, FakeModel]:
    state, model = state_of(rule, images, asked=images + unseen)
    own = truth(images + unseen).astype(np.int32)
    used = Samples(np.zeros((images + unseen, *SHAPE), np.float32), own, "bars")
    return case.Case(state, used, images, own, NULL, 1.0, 0), model


def test_on_a_model_that_no_stamp_changes_every_stamp_is_tried_once_and_no_more() -> None:
    state, model = state_of(nothing, IMAGES)
    for _ in race.race(state, SHAPE, 8, BUDGET, 0):
        assert not race.promising(state)
    grid = search.coarse(SHAPE, 8, int(search.COARSE_SHARE * BUDGET) // search.FIRST_IMAGES, 0)
    local = int(state.cost.local.sum())
    assert len(state.stamps.family) == len(grid.family)
    assert len(model.pairs) == state.queries == local + 2 * (len(grid.family) - local)
    assert max(image for _, image in model.pairs) < search.FIRST_IMAGES
    # Nobody asks for a pair twice.
    assert len(set(model.pairs)) == len(model.pairs)


def test_heats_part_the_grid_and_the_seed_decides_how() -> None:
    state, _ = state_of(nothing, IMAGES)
    sizes = [len(state.stamps.family) for _ in race.race(state, SHAPE, 8, BUDGET, 0)]
    assert len(sizes) == race.HEATS
    parts = np.diff([0, *sizes])
    assert parts.max() - parts.min() <= 1
    # Every heat has patches: no family waits for the last one.
    ends = np.split(state.stamps.family, sizes[:-1])
    assert all((part == NUMBER["patch"]).any() for part in ends)
    orders = []
    for seed in (0, 0, 1):
        again, _ = state_of(nothing, IMAGES)
        next(race.race(again, SHAPE, 8, BUDGET, seed))
        orders.append(again.stamps.parameters.tobytes())
    assert orders[0] == orders[1] != orders[2]


def test_winners_are_asked_on_all_images_and_their_neighbours_tried() -> None:
    state, _ = state_of(bottom, IMAGES)
    heats = race.race(state, SHAPE, 8, BUDGET, 0)
    promising = [race.promising(state) for _ in heats]
    assert promising == sorted(promising)
    assert promising[-1]
    whole = np.flatnonzero((state.labels >= 0).all(1))
    triggers = [k for k in whole if state.stamps.family[k] == NUMBER["patch"]]
    assert all(bottom("patch", state.stamps.own(k, SHAPE))[1] for k in triggers[:1])
    grid = search.coarse(SHAPE, 8, int(search.COARSE_SHARE * BUDGET) // search.FIRST_IMAGES, 0)
    assert len(state.stamps.family) > len(grid.family)


def test_a_race_ends_at_the_first_confirmed_trigger() -> None:
    known, _ = case_of(bottom)
    _, (verdict, _, best) = case.race_for_trigger(known, BUDGET)
    assert verdict is Verdict.CONFIRMED
    assert best is not None
    assert best.target == TARGET
    # The coarse grid was not asked to its end.
    grid = int(search.COARSE_SHARE * BUDGET) // search.FIRST_IMAGES
    started = (known.state.labels >= 0).any(1).sum()
    assert started < grid
    assert known.examined


def test_a_race_without_a_winner_concludes_on_all_heats() -> None:
    known, _ = case_of(lambda family, parameters: (TARGET, 0.3 if family == "patch" else 0.0))
    findings, (verdict, _, best) = case.race_for_trigger(known, BUDGET)
    assert verdict is Verdict.NOTHING
    assert best is not None
    assert best.target == TARGET
    assert 0.1 < best.rate < 0.5
    assert not known.examined
    assert len(findings) <= 16


def test_futile_hypotheses_stop_at_a_look_and_leaders_never_do() -> None:
    """Six patches send 0.1 to 0.9 of the images away: the weak are given up after 20, three leaders go on."""
    shares = (0.1, 0.1, 0.1, 0.1, 0.8, 0.9)
    rows = [[n, 0, 2, 2, 1, 1, 1] for n in range(len(shares))]
    known, model = case_of(lambda family, parameters: (TARGET, shares[int(parameters[0])]), unseen=100)
    known.state.add(patches([[float(v) for v in row] for row in rows]))
    known.state.evaluate(np.arange(len(shares)), IMAGES)
    tested = looks.Looks(known.used, known.searched, CLASSES)

    def observations() -> dict[int, int]:
        seen = tested.confirm(known.state, known.finding, lambda found: 0.7)
        return {each.hypothesis.stamp: len(each.images) for each in seen}

    first = observations()
    assert first[4] == first[5] == 100
    assert looks.LOOKS[0] in first.values()
    assert sum(count == 100 for count in first.values()) <= looks.LEADERS + 1
    asked = len(model.pairs)
    # What was observed is kept: a second confirmation asks nothing again.
    assert observations() == first
    assert len(model.pairs) == asked

"""The search on models made of a rule, against slow restatements of its steps."""

import math

import numpy as np
import pytest

from tests.detectors.probe.fakes import CLASSES, NUMBER, SCATTER, SHAPE, nothing, patches, state_of, truth
from xray_jax.detectors.probe import search
from xray_jax.detectors.probe.null import EDGES
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.search import SearchState
from xray_jax.detectors.probe.stamps import FAMILIES

TARGET = 3


def hill(family: str, parameters: np.ndarray) -> tuple[int, float]:
    """Patches work the better the nearer they are to row 11, column 4; nothing else does anything."""
    if family != "patch":
        return TARGET, 0.0
    return TARGET, max(0.0, 1 - 0.1 * (abs(parameters[0] - 11) + abs(parameters[1] - 4)))


def mixed(family: str, parameters: np.ndarray) -> tuple[int, float]:
    """A label and a share that look random but are a function of the parameters."""
    seed = int(np.abs(parameters * 1000).sum()) + 7 * NUMBER[family]
    generator = np.random.default_rng(seed)
    return int(generator.integers(SCATTER, CLASSES)), float(generator.uniform())


def slow_quotas(shares: list[float], rooms: list[int], count: int) -> list[float]:
    """Pours stamps into all grids at rates that are their shares; a full grid takes no more. By bisection on time."""
    low, high = 0.0, 1e6
    for _ in range(200):
        time = (low + high) / 2
        if sum(min(room, time * share) for share, room in zip(shares, rooms, strict=True)) < count:
            low = time
        else:
            high = time
    return [min(room, high * share) for share, room in zip(shares, rooms, strict=True)]


def slow_excess(state: SearchState, stamp: int) -> list[float]:
    """Excess of a stamp for "all go to t", "y goes to y + k" and "the label changes", image by image."""
    own = truth(state.images)
    level = sum(float(state.cost.weighted_rms[stamp]) > np.float32(edge) for edge in EDGES)
    ceiling = float(state.ceilings[state.stamps.family[stamp], level])
    goals = [[t] * state.images for t in range(CLASSES)]
    goals += [[(y + k) % CLASSES for y in own] for k in range(1, CLASSES)]
    found = []
    for goal in goals:
        hits = trials = 0
        for label, target, y in zip(state.labels[stamp], goal, own, strict=True):
            if label >= 0 and target != y:
                trials += 1
                hits += label == target
        found.append(hits / (trials + 1) - ceiling)
    asked = state.labels[stamp] >= 0
    return [*found, float(np.sum(state.labels[stamp][asked] != own[asked])) / (asked.sum() + 1) - ceiling]


def slow_best(state: SearchState, index: list[int], keep: int) -> list[int]:
    """The best stamps: half by their largest excess, then outcome by outcome in turn; equals by cost, then by order."""
    excess = {k: slow_excess(state, k) for k in index}
    cost = {k: float(state.cost.weighted_rms[k]) for k in index}
    chosen = sorted(index, key=lambda k: (-max(round(e, 6) for e in excess[k][:-1]), cost[k]))[: max(1, keep // 2)]
    outcomes = range(len(excess[index[0]])) if index else []
    order = sorted(outcomes, key=lambda t: -max(round(excess[k][t], 6) for k in index))
    while len(chosen) < min(keep, len(index)):
        for t in order:
            if len(chosen) < min(keep, len(index)):
                rest = [k for k in index if k not in chosen]
                chosen.append(min(rest, key=lambda k: (-round(excess[k][t], 6), cost[k])))
    return chosen


def slow_halving(state: SearchState, index: list[int], start: int) -> list[tuple[list[int], int]]:
    """Who goes on to how many images, round by round; the state must hold all labels of `index`."""
    full = state.labels.copy()
    rounds, images = [], start
    state.labels[index, start:] = -1
    while images < state.images and index:
        images = min(2 * images, state.images)
        keep = max(1, len(index) // 4)
        local = [k for k in index if state.cost.touched[k] <= 0.1]
        rest = [k for k in index if state.cost.touched[k] > 0.1]
        index = []
        for part, share in ((local, keep * 3 // 4), (rest, keep // 4)):
            if part:
                index += slow_best(state, part, max(1, share))
        state.labels[index, :images] = full[index, :images]
        rounds.append((index, images))
    return rounds


def some_stamps(count: int, seed: int = 0) -> Stamps:
    """Random patches of many costs, and as many shifts: local and global stamps."""
    generator = np.random.default_rng(seed)
    sides = generator.integers(1, 6, count)
    places = generator.integers(0, 11, (count, 2))
    colours = generator.integers(0, 2, (count, 3))
    local = patches(np.column_stack([places, sides, sides, colours]).tolist())
    return Stamps.join(local, Stamps.of(NUMBER["shift"], generator.uniform(-0.2, 0.2, (count, 3)).astype(np.float32)))


@pytest.mark.parametrize("count", [60, 700, 3000])
def test_coarse_thins_every_grid_to_its_share(count: int) -> None:
    stamps = search.coarse(SHAPE, 5, count, seed=1)
    grids = [np.unique(family.grid(SHAPE, 5), axis=0) for family in FAMILIES]
    quotas = slow_quotas([family.share for family in FAMILIES], [len(grid) for grid in grids], count)
    assert count - len(FAMILIES) - 1 <= len(stamps.family) <= count
    for number, (grid, quota) in enumerate(zip(grids, quotas, strict=True)):
        own = stamps.take(stamps.family == number).parameters[:, : grid.shape[1]]
        assert quota - 2 < len(own) <= math.ceil(quota)
        assert len(np.unique(own, axis=0)) == len(own), "no stamp twice"
        assert {row.tobytes() for row in own} <= {row.tobytes() for row in grid}


def test_coarse_takes_whole_grids_where_the_budget_allows_and_another_part_for_another_seed() -> None:
    everything = search.coarse(SHAPE, 5, 10**6, seed=0)
    for number, family in enumerate(FAMILIES):
        room = len(np.unique(family.grid(SHAPE, 5), axis=0))
        # Quotas are poured in floating point: the last drop may be missing.
        assert room - 1 <= np.count_nonzero(everything.family == number) <= room
    parts = [search.coarse(SHAPE, 5, 500, seed).parameters for seed in (0, 0, 1)]
    np.testing.assert_array_equal(parts[0], parts[1])
    assert not np.array_equal(parts[0], parts[2])


def test_evaluate_queries_what_is_not_known_and_nothing_else() -> None:
    state, model = state_of(mixed)
    index = state.add(some_stamps(5))
    state.evaluate(index[[1, 3]], 4)
    assert sorted(model.pairs) == [(stamp, image) for stamp in (1, 3) for image in range(4)]
    model.pairs.clear()
    state.evaluate(index[[3, 4]], 6)
    assert sorted(model.pairs) == [(3, 4), (3, 5), *((4, image) for image in range(6))]
    assert state.queries == 16 == np.count_nonzero(state.labels >= 0)
    for stamp, image in np.argwhere(state.labels >= 0):
        (expected,) = model.query(state.stamps, np.asarray([stamp]), np.asarray([image]))
        assert state.labels[stamp, image] == expected


def test_add_takes_up_each_stamp_once() -> None:
    state, _ = state_of(nothing)
    one, two, three = ([1.0, 2, side, side, 1, 1, 1] for side in (1, 2, 3))
    np.testing.assert_array_equal(state.add(patches([one, two, one])), [0, 1])
    np.testing.assert_array_equal(state.add(patches([two, three])), [2])
    np.testing.assert_allclose(state.cost.weighted_rms, [1 / 50, 2 / 50, 3 / 50], rtol=1e-6)
    assert state.labels.shape == (3, 20)
    assert (state.labels == -1).all()


def test_excess_is_the_slow_loops() -> None:
    state, _ = state_of(mixed)
    state.ceilings[:] = np.random.default_rng(0).uniform(size=state.ceilings.shape)
    index = state.add(some_stamps(12))
    state.evaluate(index, 7)
    state.evaluate(index[::2], 20)
    np.testing.assert_allclose(state.excess(index), [slow_excess(state, k) for k in index], atol=1e-6)


def test_comparable_stamps_are_of_one_kind_and_at_most_a_quarter_dearer() -> None:
    state, _ = state_of(nothing)
    stamps = [[0.0, 0, side, side, 1, 1, 1] for side in (4, 1, 4.95, 5.05)]
    state.add(Stamps.join(patches(stamps), Stamps.of(NUMBER["shift"], np.ones((1, 3), np.float32))))
    assert state.cost.local.tolist() == [True, True, True, True, False]
    assert state.comparable(0).tolist() == [True, True, True, False, False]
    assert state.comparable(1).tolist() == [False, True, False, False, False]
    assert state.comparable(4).tolist() == [False, False, False, False, True]


@pytest.mark.parametrize("keep", [1, 2, 9, 24, 100])
def test_best_is_half_by_excess_and_half_by_outcome(keep: int) -> None:
    state, _ = state_of(mixed)
    index = state.add(some_stamps(20))
    state.evaluate(index, 8)
    some = index[5:35]
    assert state.best(some, keep).tolist() == slow_best(state, some.tolist(), keep)


@pytest.mark.parametrize(("count", "images"), [(40, 20), (40, 32), (3, 20), (1, 5)])
def test_halving_evaluates_the_best_quarter_on_twice_the_images(count: int, images: int) -> None:
    told, _ = state_of(mixed, images)
    told.evaluate(told.add(some_stamps(count)), images)
    rounds = slow_halving(told, list(range(2 * count)), 4)
    state, _ = state_of(mixed, images)
    index = state.add(some_stamps(count))
    state.evaluate(index, 4)
    search.successive_halving(state, index, 4)
    expected = np.full(2 * count, 4)
    for survivors, seen in rounds:
        expected[survivors] = seen
    np.testing.assert_array_equal((state.labels >= 0).sum(1), expected)
    assert expected.max() == images, "someone reaches the end"
    assert state.queries == expected.sum()


def test_halving_keeps_the_stamp_that_works() -> None:
    state, _ = state_of(hill, 40)
    places = [[float(row), float(column), 2, 2, 1, 1, 1] for row in range(0, 16, 2) for column in range(0, 16, 2)]
    places[37] = [11, 4, 2, 2, 1, 1, 1]
    index = state.add(patches(places))
    state.evaluate(index, 4)
    search.successive_halving(state, index, 4)
    assert (state.labels[37] == TARGET).all()
    # 64 stamps, then 16 // 4 * 3 and so on: far from all pairs.
    assert state.queries < 0.25 * 64 * 40


@pytest.mark.parametrize("budget", [0, 200, 10**6])
def test_sample_levels_takes_one_stamp_of_each_family_and_level_to_the_end(budget: int) -> None:
    state, _ = state_of(mixed)
    index = state.add(some_stamps(30))
    state.evaluate(index, 4)
    before = state.queries
    search.sample_levels(state, index, budget, seed=0)
    levels = [sum(cost > np.float32(edge) for edge in EDGES) for cost in state.cost.weighted_rms]
    cells: dict[tuple[int, int], list[int]] = {}
    for stamp, cell in enumerate(zip(state.stamps.family.tolist(), levels, strict=True)):
        cells.setdefault(cell, []).append(stamp)
    assert len(cells) == 6, "five sides of a patch, and shifts"
    asked = (state.labels >= 0).sum(1)
    done = [own for own in cells.values() if asked[own].max() == 20]
    # A family and level costs at most four stamps on 12 images and one on 20.
    assert len(done) == min(6, budget // (4 * 12 + 20))
    assert state.queries - before <= budget
    for own in done:
        assert sorted(asked[own])[-min(4, len(own)) :] == [12] * (min(4, len(own)) - 1) + [20]
        (last,) = (k for k in own if asked[k] == 20)
        longer = [k for k in own if asked[k] >= 12]
        state.labels[last, 12:] = -1
        rates = {k: max(slow_excess(state, k)[:CLASSES]) for k in longer}
        assert rates[last] == pytest.approx(max(rates.values()))


def test_refinement_climbs_the_hill_by_single_moves() -> None:
    state, _ = state_of(hill, 40)
    index = state.add(patches([[8.0, 7, 2, 2, 1, 1, 1], [2, 12, 2, 2, 0, 0, 0]]))
    state.evaluate(index, 40)
    start = state.queries
    assert state.rates(index)[:, TARGET].max() < 0.6
    search.refine(state, SHAPE, 3000, seed=0)
    whole = np.flatnonzero((state.labels >= 0).all(1))
    best = whole[state.rates(whole)[:, TARGET].argmax()]
    assert state.stamps.parameters[best, :2].tolist() == [11, 4]
    assert state.queries - start <= 3000
    for stamp in range(2, len(state.stamps.family)):
        changed = np.count_nonzero(state.stamps.parameters[:stamp] != state.stamps.parameters[stamp], axis=1)
        assert changed.min() == 1, "every new stamp is one move from one before it"


@pytest.mark.parametrize("budget", [500, 1000])
def test_refinement_makes_no_more_stamps_than_its_budget_pays(budget: int) -> None:
    state, _ = state_of(hill, 40)
    state.evaluate(state.add(patches([[0.0, 15, 1, 1, 1, 1, 1], [2, 12, 2, 2, 0, 0, 0]])), 40)
    before, start = len(state.stamps.family), state.queries
    search.refine(state, SHAPE, budget, seed=0)
    # In eight rounds, at 8 images each and as many again in halving.
    assert 0.3 * budget / 16 < len(state.stamps.family) - before <= budget / 16
    assert state.queries - start <= budget


def test_refinement_starts_only_from_stamps_that_were_tried_often_enough() -> None:
    state, _ = state_of(hill, 40)
    index = state.add(patches([[8.0, 7, 2, 2, 1, 1, 1]]))
    state.evaluate(index, 7)
    search.refine(state, SHAPE, 3000, seed=0)
    assert (state.queries, len(state.stamps.family)) == (7, 1)


@pytest.mark.parametrize("budget", [1000, 8000])
def test_the_search_stays_within_its_budget_and_finds_the_top_of_the_hill(budget: int) -> None:
    state, model = state_of(hill, 30)
    search.search(state, SHAPE, 30, budget, seed=0)
    assert len(set(model.pairs)) == len(model.pairs) == state.queries == np.count_nonzero(state.labels >= 0)
    assert 0.47 * 0.9 * budget < state.queries <= budget
    tried = np.flatnonzero((state.labels >= 0).all(1))
    assert state.rates(tried)[:, TARGET].max() > (0.9 if budget > 1000 else 0.3)
    again, _ = state_of(hill, 30)
    search.search(again, SHAPE, 30, budget, seed=0)
    np.testing.assert_array_equal(again.labels, state.labels)


def test_few_images_are_enough() -> None:
    state, _ = state_of(hill, 3)
    search.search(state, SHAPE, 3, 1000, seed=0)
    assert state.labels.shape[1] == 3
    assert (state.labels >= 0).all(1).any()

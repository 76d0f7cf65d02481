"""The race: every stamp of the coarse grid starts on one image, and goes on only as long as labels change."""

from collections.abc import Iterator

import numpy as np

from xray_jax.detectors.probe.search import (
    COARSE_SHARE,
    FIRST_IMAGES,
    REFINE_ROUNDS,
    REFINE_SHARE,
    SearchState,
    coarse,
    refine,
)
from xray_jax.detectors.probe.stamps import Shape

HEATS = 4
"""Parts of the coarse grid that run one after the other: a trigger that is found early ends the race."""
KEPT_LOCAL, KEPT_GLOBAL = 6, 4
"""Stamps of each kind that every round of a heat keeps at least."""
GOOD_RATE, GOOD_EXCESS = 0.7, 0.15
"""A stamp that reaches both on the search images is worth confirming before the race is over: cautious flip rate, and
what of it clean models do not reach."""


def race(state: SearchState, shape: Shape, bank_size: int, budget: int, seed: int) -> Iterator[None]:
    """The race, heat by heat; whoever has found what they look for stops asking for heats.

    In a heat local stamps start on one of the first images, at random, global ones on two. On most models nine in ten
    local stamps leave the label as it is; only the others run on. Of the winners neighbours are tried.

    Args:
      state: empty; takes up the stamps and their labels.
      shape: of the images.
      bank_size: number of clean images that stamps may be made of.
      budget: of a full search, whose grid is the race's as well.
      seed: thinning of the grids, order of the stamps, first images, moves of the refinement.

    Yields:
      None after each heat.
    """
    generator = np.random.default_rng(seed)
    first = min(FIRST_IMAGES, state.images)
    grid = coarse(shape, bank_size, int(COARSE_SHARE * budget) // first, seed)
    order = generator.permutation(len(grid.family))
    for heat in range(HEATS):
        index = state.add(grid.take(np.sort(order[heat::HEATS])))
        start = generator.integers(first, size=len(index))
        state.ask(index, start)
        spread = ~state.cost.local[index]
        state.ask(index[spread], (start[spread] + 1) % first)
        alive = index[state.changed(index)]
        state.evaluate(alive, first)
        _run(state, alive, first)
        refine(state, shape, int(REFINE_SHARE * budget), seed + heat, REFINE_ROUNDS // HEATS, first)
        yield


def promising(state: SearchState) -> bool:
    """Whether a stamp of the race so far is worth confirming at once."""
    seen = np.flatnonzero((state.labels >= 0).all(1))
    rates, excess = state.rates(seen)[:, :-1], state.excess(seen)[:, :-1]
    return bool(((rates >= GOOD_RATE) & (excess >= GOOD_EXCESS)).any())


def _run(state: SearchState, index: np.ndarray, start: int) -> None:
    """Rounds of a heat: the best quarter on twice the images, up to all of them, and never fewer than are kept."""
    images = start
    while images < state.images and len(index):
        images = min(2 * images, state.images)
        local = state.cost.local[index]
        parts = [
            state.best(part, min(len(part), max(least, len(part) // 4)))
            for part, least in ((index[local], KEPT_LOCAL), (index[~local], KEPT_GLOBAL))
            if len(part)
        ]
        index = np.concatenate(parts)
        state.evaluate(index, images)

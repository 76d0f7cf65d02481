"""Cross-examination: before a trigger is confirmed, the model's other classes get the same chance.

The search climbs towards whatever stands out, so the class that stands out has had more stamps made for it than the
others. In a clean model another class soon follows when it is climbed to on purpose; in a backdoored one none does.
"""

import itertools

import numpy as np

from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.search import SearchState
from xray_jax.detectors.probe.stamps import FAMILIES, Shape
from xray_jax.detectors.probe.stamps.family import palette

OTHER_CLASSES = 6
"""Other classes that are climbed to: the easiest ones."""
ROUNDS, PARENTS, CHILDREN = 4, 2, 10
"""Rounds of the climb; in each round, stamps of each class that are varied, and variations of each."""
FIRST_IMAGES = 8
"""Images that a variation is tried on; the best of each class go on to all search images."""


def cross_examine(state: SearchState, stamp: int, target: int, shape: Shape, num_classes: int, seed: int) -> None:
    """Climbs to classes other than `target` with stamps comparable with `stamp`.

    Args:
      state: takes up the stamps and their labels, from which `confirm.finding` reads the runner-up.
      stamp: number of the stamp that would be a confirmed trigger.
      target: its label.
      shape: of the images.
      num_classes: of the model.
      seed: of the variations.
    """
    generator = np.random.default_rng(seed)
    first = min(FIRST_IMAGES, state.images)
    # The climb begins at the same place and size in other colours.
    _evaluate_comparable(state, [_recoloured(state, stamp, shape)], stamp, first)
    for _ in range(ROUNDS):
        near = np.flatnonzero(state.comparable(stamp) & ((state.labels >= 0).sum(1) >= first))
        rates = state.rates(near)[:, :num_classes]
        rates[:, target] = -1
        easiest = np.argsort(-rates.max(0), kind="stable")[: min(OTHER_CLASSES, num_classes - 1)]
        children = []
        for label in easiest:
            parents = near[np.lexsort((state.cost.weighted_rms[near], -rates[:, label]))[:PARENTS]]
            state.evaluate(parents, state.images)
            children += [_varied(state, int(parent), shape, generator) for parent in parents]
        _evaluate_comparable(state, children, stamp, first)


def _evaluate_comparable(state: SearchState, children: list[Stamps], stamp: int, images: int) -> None:
    """Adds stamps, and evaluates those comparable with `stamp` on the first `images` images."""
    index = state.add(Stamps.join(*children))
    state.evaluate(index[state.comparable(stamp)[index]], images)


def _varied(state: SearchState, parent: int, shape: Shape, generator: np.random.Generator) -> Stamps:
    """At most `CHILDREN` random neighbours of a stamp."""
    family = int(state.stamps.family[parent])
    near = FAMILIES[family].neighbours(state.stamps.own(parent, shape), shape)
    return Stamps.of(family, generator.permutation(near)[:CHILDREN])


def _recoloured(state: SearchState, stamp: int, shape: Shape) -> Stamps:
    """The stamp in every colour of the palette and with every unordered choice; its place and size are kept."""
    number = int(state.stamps.family[stamp])
    own, parameters = state.stamps.own(stamp, shape), FAMILIES[number].parameters(shape)
    inks = [axis for axis, parameter in enumerate(parameters) if parameter.name in ("red", "green", "blue")]
    choices = [
        [float(own[axis]), *p.moves(float(own[axis]))] if p.values else [float(own[axis])]
        for axis, p in enumerate(parameters)
    ]
    children = np.asarray(list(itertools.product(*choices)), np.float32)
    if inks:
        low, high = (
            np.asarray([getattr(parameters[axis], end) for axis in inks], np.float32) for end in ("low", "high")
        )
        colours = low + palette(shape[2]) * (high - low)
        children = np.repeat(children, len(colours), axis=0)
        children[:, inks] = np.tile(colours, (len(children) // len(colours), 1))
    return Stamps.of(number, children)

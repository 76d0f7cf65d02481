"""Cross-examination: before a stamp counts as a proof, the model's other classes get the same chance.

The search climbs towards whatever stands out, so the class that stands out has had more stamps made for it than the
others. In a clean model another class soon follows when it is climbed to on purpose; in a backdoored one none does.
"""

import itertools

import numpy as np

from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.search import SearchState
from xray_jax.detectors.probe.stamps import FAMILIES, Shape
from xray_jax.detectors.probe.stamps.family import palette

CLASSES = 6
"""Other classes that are climbed to: the easiest ones."""
ROUNDS, PARENTS, CHILDREN = 4, 2, 10
"""Rounds of the climb; in each round stamps a class that are varied, and variations of each."""
LOOK = 8
"""Images that a variation is tried on; the best of each class go on to all search images."""


def challenge(state: SearchState, stamp: int, target: int, shape: Shape, num_classes: int, seed: int) -> None:
    """Climbs to classes other than `target` with stamps that cost no more than `stamp` does; the state keeps them."""
    generator = np.random.default_rng(seed)
    look = min(LOOK, state.images)
    # The same place and size in other inks is where the other classes' chance begins.
    _ask(state, [_recoloured(state, stamp, shape)], stamp, look)
    for _ in range(ROUNDS):
        near = np.flatnonzero(state.comparable(stamp) & ((state.labels >= 0).sum(1) >= look))
        rates = state.rates(near)[:, :num_classes]
        rates[:, target] = -1
        easiest = np.argsort(-rates.max(0), kind="stable")[: min(CLASSES, num_classes - 1)]
        born = []
        for label in easiest:
            parents = near[np.lexsort((state.cost.price[near], -rates[:, label]))[:PARENTS]]
            state.evaluate(parents, state.images)
            born += [_varied(state, int(parent), shape, generator) for parent in parents]
        _ask(state, born, stamp, look)


def _ask(state: SearchState, born: list[Stamps], stamp: int, look: int) -> None:
    index = state.add(Stamps.join(*born))
    state.evaluate(index[state.comparable(stamp)[index]], look)


def _varied(state: SearchState, parent: int, shape: Shape, generator: np.random.Generator) -> Stamps:
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
    born = np.asarray(list(itertools.product(*choices)), np.float32)
    if inks:
        low, high = (
            np.asarray([getattr(parameters[axis], end) for axis in inks], np.float32) for end in ("low", "high")
        )
        colours = low + palette(shape[2]) * (high - low)
        born = np.repeat(born, len(colours), axis=0)
        born[:, inks] = np.tile(colours, (len(born) // len(colours), 1))
    return Stamps.of(number, born)

"""The search for a stamp that works: a coarse grid on few images, successive halving, refinement of the survivors."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from xray_jax.detectors.probe import score
from xray_jax.detectors.probe.null import LEVELS, level
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.score import Outcomes
from xray_jax.detectors.probe.stamps import FAMILIES, Shape
from xray_jax.detectors.probe.stamps import cost as costs
from xray_jax.detectors.probe.stamps.cost import Cost

Query = Callable[[Stamps, np.ndarray, np.ndarray], np.ndarray]
"""(stamps, stamp index `[Q]`, image number `[Q]`) -> labels `[Q]`."""
Measure = Callable[[Stamps], Cost]

FIRST_LOOK = 4
"""Images that every coarse stamp is tried on."""
COARSE, LEVELLED, REFINE = 0.47, 0.1, 0.24
"""Shares of the budget: the coarse grid's first look, at most so much for `sample_levels`, and refinement. Halving,
confirmation and cross-examination take the rest."""
ROUNDS = 8
"""Refinement rounds."""
DEARER = 1.25
"""Stamps are comparable up to this ratio of their prices: about that of a black and a white one of the same size."""
SAMPLED = 4
"""Stamps of each family and level of cost that are looked at twice, whatever the others do; the best one to the end."""


@dataclass
class SearchState:
    """Everything asked so far: K stamps, their costs, and their labels on the search images.

    Attributes:
      ask, measure: the model, and the stamps' costs.
      wanted: outcomes over the M search images.
      ceilings: `[families, LEVELS]`, flip rates that are normal.
      stamps, cost: of length K. labels: int32 `[K, M]`, -1 where not asked.
      queries: asked so far.
    """

    ask: Query
    measure: Measure
    wanted: Outcomes
    ceilings: np.ndarray
    stamps: Stamps = field(default_factory=Stamps.join)
    cost: Cost = field(default_factory=lambda: Cost(*np.zeros((4, 0), np.float32)))
    labels: np.ndarray = field(init=False)
    queries: int = 0
    _known: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.labels = np.empty((0, self.images), np.int32)

    @property
    def images(self) -> int:
        return len(self.wanted.goals)

    def add(self, stamps: Stamps) -> np.ndarray:
        """Takes up the stamps that are new; returns their numbers."""
        keys = [bytes([f]) + p.tobytes() for f, p in zip(stamps.family, stamps.parameters, strict=True)]
        new = []
        for number, key in enumerate(keys):
            if key not in self._known:
                self._known.add(key)
                new.append(number)
        stamps = stamps.take(np.asarray(new, int))
        first = len(self.stamps.family)
        self.stamps = Stamps.join(self.stamps, stamps)
        self.cost = costs.join(self.cost, self.measure(stamps))
        self.labels = np.concatenate([self.labels, np.full((len(new), self.images), -1, np.int32)])
        return np.arange(first, first + len(new))

    def evaluate(self, index: np.ndarray, images: int) -> None:
        """Asks for stamps `index` on the first `images` images, as far as that was not asked before."""
        stamp, image = np.nonzero(self.labels[index, :images] < 0)
        self.labels[index[stamp], image] = self.ask(self.stamps, index[stamp], image)
        self.queries += len(stamp)

    def rates(self, index: np.ndarray) -> np.ndarray:
        """Cautious rates `[K, O]` of the outcomes: hits over trials and one more, so that few images promise little."""
        hits, trials = score.flips(self.labels[index], self.wanted)
        return hits / (trials + 1)

    def excess(self, index: np.ndarray) -> np.ndarray:
        """Flip rates above what is normal at the stamp's family and cost: `[K, O]`. What the search climbs."""
        normal = self.ceilings[self.stamps.family[index], level(self.cost.price[index])]
        return self.rates(index) - normal[:, None]

    @property
    def classes(self) -> int:
        return len(self.wanted.goals[0]) - len(self.wanted.shifts) - 1

    def comparable(self, stamp: int) -> np.ndarray:
        """Stamps that may be set against `stamp`: local if it is local, and hardly dearer. Bool `[K]`."""
        return (self.cost.local == self.cost.local[stamp]) & (self.cost.price <= self.cost.price[stamp] * DEARER)

    def best(self, index: np.ndarray, keep: int) -> np.ndarray:
        """`keep` of stamps `index`: half by largest excess, half spread over the outcomes; cheap ones first."""
        excess, price = self.excess(index), self.cost.price[index]
        # That labels change is no evidence by itself, so it only has a share in the spread.
        chosen = dict.fromkeys(np.lexsort((price, -excess[:, :-1].max(1)))[: max(1, keep // 2)].tolist())
        columns = [iter(np.lexsort((price, -excess[:, t])).tolist()) for t in np.argsort(-excess.max(0), kind="stable")]
        while len(chosen) < min(keep, len(index)):
            for column in columns:
                if len(chosen) < min(keep, len(index)):
                    chosen.setdefault(next(k for k in column if k not in chosen))
        return index[np.fromiter(chosen, int)]


def coarse(shape: Shape, bank_size: int, count: int, seed: int) -> Stamps:
    """About `count` stamps of all families, each family's grid thinned to its share of them."""
    generator = np.random.default_rng(seed)
    grids = [np.unique(family.grid(shape, bank_size), axis=0) for family in FAMILIES]
    shares = np.asarray([family.share for family in FAMILIES])
    room = np.asarray([len(grid) for grid in grids])
    quota = np.zeros(len(grids))
    # What small families leave unused goes to the others.
    for _ in grids:
        hungry = quota < room
        left = min(count, room.sum()) - quota.sum()
        if left < 1 or not hungry.any():
            break
        quota = np.minimum(room, quota + left * np.where(hungry, shares, 0) / shares[hungry].sum())
    parts = []
    for number, (grid, wanted) in enumerate(zip(grids, quota.astype(int), strict=True)):
        keep = np.sort(generator.permutation(len(grid))[:wanted])
        parts.append(Stamps.of(number, grid[keep]))
    return Stamps.join(*parts)


def successive_halving(state: SearchState, index: np.ndarray, start: int) -> None:
    """Successive halving: stamps that were looked at on `start` images; each round a quarter gets twice the images."""
    images, total = start, state.images
    while images < total and len(index):
        images = min(2 * images, total)
        keep = max(1, len(index) // 4)
        # Strong global stamps work on any model: they must not crowd out the local ones.
        local = state.cost.local[index]
        parts = [state.best(part, max(1, k)) for part, k in _split(index, local, keep)]
        index = np.concatenate(parts)
        state.evaluate(index, images)


def sample_levels(state: SearchState, index: np.ndarray, budget: int, seed: int) -> None:
    """Looks to the end at one stamp of each family and level of cost: a null needs to know what all of them do."""
    cell = state.stamps.family[index] * LEVELS + level(state.cost.price[index])
    values = np.random.default_rng(seed).permutation(np.unique(cell))
    longer = min(3 * FIRST_LOOK, state.images)
    some = [index[cell == value] for value in values[: budget // (SAMPLED * longer + state.images)]]
    for keep, images in ((SAMPLED, longer), (1, state.images)):
        some = [part[np.argsort(-state.rates(part)[:, : state.classes].max(1), kind="stable")[:keep]] for part in some]
        state.evaluate(np.concatenate([np.empty(0, int), *some]), images)


def _split(index: np.ndarray, local: np.ndarray, keep: int) -> list[tuple[np.ndarray, int]]:
    halves = [(index[local], keep * 3 // 4), (index[~local], keep // 4)]
    return [(part, min(k, len(part))) for part, k in halves if len(part)]


def refine(state: SearchState, shape: Shape, budget: int, seed: int) -> None:
    """Climbs from the best stamps, overall and of each class, one move of one parameter at a time."""
    generator = np.random.default_rng(seed)
    total = state.images
    look = min(8, total)
    for _ in range(ROUNDS):
        everything = np.arange(len(state.stamps.family))
        seen = everything[(state.labels >= 0).sum(1) >= min(2 * FIRST_LOOK, total)]
        if not len(seen):
            return
        # A neighbour costs its first look, and about as much again in halving.
        moves = budget // ROUNDS // (2 * look)
        parents = np.concatenate(
            [state.best(p, k) for p, k in _split(seen, state.cost.local[seen], max(4, moves // 14))]
        )
        born = []
        for parent in parents:
            family = FAMILIES[state.stamps.family[parent]]
            near = family.neighbours(state.stamps.own(parent, shape), shape)
            born.append(
                Stamps.of(int(state.stamps.family[parent]), generator.permutation(near)[: moves // len(parents)])
            )
        index = state.add(Stamps.join(*born))
        state.evaluate(index, look)
        successive_halving(state, index, look)


def search(state: SearchState, shape: Shape, bank_size: int, budget: int, seed: int) -> None:
    """Fills the state with about `budget` queries."""
    first = min(FIRST_LOOK, state.images)
    index = state.add(coarse(shape, bank_size, int(COARSE * budget) // first, seed))
    state.evaluate(index, first)
    sample_levels(state, index, int(LEVELLED * budget), seed)
    successive_halving(state, index, first)
    refine(state, shape, int(REFINE * budget), seed)

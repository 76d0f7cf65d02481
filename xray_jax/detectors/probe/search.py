"""The search for triggers: a coarse grid of stamps on few images, successive halving, refinement of the survivors."""

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
"""Hard labels of the model: (K stamps, stamp index `[Q]`, image index `[Q]`) -> int32 `[Q]`."""
Measure = Callable[[Stamps], Cost]
"""Cost of K stamps."""

FIRST_IMAGES = 4
"""Images that every coarse stamp is tried on."""
COARSE_SHARE, LEVELS_SHARE, REFINE_SHARE = 0.47, 0.1, 0.24
"""Shares of the budget: the coarse grid on the first images, `sample_levels` at most, and refinement. Halving,
confirmation and cross-examination take the rest."""
REFINE_ROUNDS = 8
REFINE_IMAGES = 8
"""Images that a refined stamp is tried on first."""
COMPARABLE = 1.25
"""Stamps are comparable up to this ratio of weighted RMS: about that of a black and a white one of the same size."""
PER_LEVEL = 4
"""Stamps of each family and cost level that are tried on more images, whatever the others do; the best one on all."""


@dataclass
class SearchState:
    """State of one model's search: K stamps, their costs, and their labels on the M search images.

    Attributes:
      query: the model's hard labels of stamped images.
      measure: cost of stamps.
      wanted: the outcomes that stamps are scored for, on the search images.
      ceilings: float32 `[families, LEVELS]`, flip rates of clean models.
      stamps: the K stamps, each once.
      cost: of the K stamps.
      labels: int32 `[K, M]`, -1 where not queried.
      queries: number of labels queried through `evaluate`.
    """

    query: Query
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
        """M, the number of search images."""
        return len(self.wanted.target_labels)

    def add(self, stamps: Stamps) -> np.ndarray:
        """Adds the stamps that are new, unevaluated; returns their numbers `[new]`."""
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
        """Queries the labels of stamps `index` on the first `images` images, those that are not known yet."""
        stamp, image = np.nonzero(self.labels[index, :images] < 0)
        self.ask(index[stamp], image)

    def ask(self, stamp: np.ndarray, image: np.ndarray) -> None:
        """Queries the labels of pairs of a stamp and an image, `[Q]` each."""
        self.labels[stamp, image] = self.query(self.stamps, stamp, image)
        self.queries += len(stamp)

    def changed(self, index: np.ndarray) -> np.ndarray:
        """Which of stamps `index` changed the label of an image that they were tried on, bool `[K]`."""
        labels = self.labels[index]
        return ((labels >= 0) & (labels != self.wanted.predicted)).any(1)

    def rates(self, index: np.ndarray) -> np.ndarray:
        """Cautious rates of stamps `index` for each outcome, `[K, O]`: hits / (trials + 1), low with few images."""
        hits, trials = score.flips(self.labels[index], self.wanted)
        return hits / (trials + 1)

    def excess(self, index: np.ndarray) -> np.ndarray:
        """Excess of stamps `index` for each outcome, `[K, O]`: rates less the null's ceilings; the search climbs it."""
        normal = self.ceilings[self.stamps.family[index], level(self.cost.weighted_rms[index])]
        return self.rates(index) - normal[:, None]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.wanted.target_labels[0]) - len(self.wanted.shifts) - 1

    def comparable(self, stamp: int) -> np.ndarray:
        """Stamps comparable with `stamp`, bool `[K]`: local if it is local, global if not, and of hardly more cost."""
        most = self.cost.weighted_rms[stamp] * COMPARABLE
        return (self.cost.local == self.cost.local[stamp]) & (self.cost.weighted_rms <= most)

    def best(self, index: np.ndarray, keep: int) -> np.ndarray:
        """Best `keep` of stamps `index`: half by largest excess, half spread over outcomes; low cost first."""
        excess, cost = self.excess(index), self.cost.weighted_rms[index]
        # That labels change is no evidence by itself, so it only has a share in the spread.
        chosen = dict.fromkeys(np.lexsort((cost, -excess[:, :-1].max(1)))[: max(1, keep // 2)].tolist())
        columns = [iter(np.lexsort((cost, -excess[:, t])).tolist()) for t in np.argsort(-excess.max(0), kind="stable")]
        while len(chosen) < min(keep, len(index)):
            for column in columns:
                if len(chosen) < min(keep, len(index)):
                    chosen.setdefault(next(k for k in column if k not in chosen))
        return index[np.fromiter(chosen, int)]


def coarse(shape: Shape, bank_size: int, count: int, seed: int) -> Stamps:
    """The coarse grid: about `count` stamps, of every family's grid a random part in proportion to its share.

    Args:
      shape: of the images.
      bank_size: number of clean images that stamps may be made of.
      count: stamps in all; fewer if the grids have no more.
      seed: of the random parts.
    """
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
    """Successive halving: each round evaluates the best quarter of the stamps on twice the images, up to all of them.

    Three quarters of the survivors are local stamps, one quarter global ones.

    Args:
      state: takes up the labels.
      index: stamps that were evaluated on the first `start` images.
      start: number of images.
    """
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
    """Evaluates one stamp of each family and cost level on all images: a null needs flip rates at every level.

    Args:
      state: takes up the labels.
      index: stamps that were evaluated on `FIRST_IMAGES`.
      budget: queries at most; where they do not reach, a random part of the families and levels is left out.
      seed: of the random part.
    """
    cell = state.stamps.family[index] * LEVELS + level(state.cost.weighted_rms[index])
    values = np.random.default_rng(seed).permutation(np.unique(cell))
    longer = min(3 * FIRST_IMAGES, state.images)
    some = [index[cell == value] for value in values[: budget // (PER_LEVEL * longer + state.images)]]
    for keep, images in ((PER_LEVEL, longer), (1, state.images)):
        some = [part[np.argsort(-state.rates(part)[:, : state.classes].max(1), kind="stable")[:keep]] for part in some]
        state.evaluate(np.concatenate([np.empty(0, int), *some]), images)


def _split(index: np.ndarray, local: np.ndarray, keep: int) -> list[tuple[np.ndarray, int]]:
    """Local and global stamps, and how many of each to keep: three quarters and one quarter of `keep`."""
    halves = [(index[local], keep * 3 // 4), (index[~local], keep // 4)]
    return [(part, min(k, len(part))) for part, k in halves if len(part)]


def refine(
    state: SearchState,
    shape: Shape,
    budget: int,
    seed: int,
    rounds: int = REFINE_ROUNDS,
    first_images: int = REFINE_IMAGES,
) -> None:
    """Refinement: climbs from the best stamps, overall and of each class, one move of one parameter at a time.

    Args:
      state: takes up the new stamps and their labels.
      shape: of the images.
      budget: about how many queries in `REFINE_ROUNDS` rounds.
      seed: of the moves that are tried where there are too many.
      rounds: moves in succession.
      first_images: images that a new stamp is tried on first.
    """
    generator = np.random.default_rng(seed)
    total = state.images
    first = min(first_images, total)
    for _ in range(rounds):
        everything = np.arange(len(state.stamps.family))
        seen = everything[(state.labels >= 0).sum(1) >= min(2 * FIRST_IMAGES, total)]
        if not len(seen):
            return
        # A neighbour costs its first images, and about as much again in halving.
        moves = budget // REFINE_ROUNDS // (2 * REFINE_IMAGES)
        parents = np.concatenate(
            [state.best(p, k) for p, k in _split(seen, state.cost.local[seen], max(4, moves // 14))]
        )
        children = []
        for parent in parents:
            family = FAMILIES[state.stamps.family[parent]]
            near = family.neighbours(state.stamps.own(parent, shape), shape)
            children.append(
                Stamps.of(int(state.stamps.family[parent]), generator.permutation(near)[: moves // len(parents)])
            )
        index = state.add(Stamps.join(*children))
        state.evaluate(index, first)
        successive_halving(state, index, first)


def search(state: SearchState, shape: Shape, bank_size: int, budget: int, seed: int) -> None:
    """The whole search, by about `budget` queries: confirmation's and cross-examination's share is left unspent.

    Args:
      state: empty; takes up the stamps and their labels.
      shape: of the images.
      bank_size: number of clean images that stamps may be made of.
      budget: of the whole probe.
      seed: thinning of the grids, moves of the refinement.
    """
    first = min(FIRST_IMAGES, state.images)
    index = state.add(coarse(shape, bank_size, int(COARSE_SHARE * budget) // first, seed))
    state.evaluate(index, first)
    sample_levels(state, index, int(LEVELS_SHARE * budget), seed)
    successive_halving(state, index, first)
    refine(state, shape, int(REFINE_SHARE * budget), seed)

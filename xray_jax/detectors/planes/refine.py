"""The label map of a grid from about a tenth of its nodes: coarse lattice first, then only where labels change.

Label maps are large patches of one label with crooked borders, so most nodes can be told from their neighbours. From
one lattice to the next, twice as fine, a new node takes the label that the nodes around it agree on and is queried
only where they do not. Three things catch what this guess would miss. Planes on which the first lattice finds small
patches have more of them between its nodes, so there it is made denser. On the coarse lattices every node next to
another label is queried, round after round, so a border is walked along wherever it leads; on the full grid only
surprises are followed: nodes whose answer none of their neighbours foretold. At last the nodes on which a sample's area
hangs are queried: a bridge one node wide can decide a third of a plane. Patches narrower than the first lattice that
lie far from any border are lost; that is the method's error.

Pure host logic: a generator yields grid nodes, takes their labels, and returns the map. It knows no model and no
device, so a caller can run several at once, feed it recorded maps, or put a black box behind it.
"""

import itertools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

UNKNOWN = -1

CROWDED = 0.02
"""Share of lone nodes in the first lattice from which a plane has small patches that the lattice misses."""
WEIGHTY = 0.005
"""Share of a plane from which a patch moves a sample's area by more than noise."""


@dataclass(frozen=True)
class Refined:
    """What a refinement found.

    Attributes:
      labels: int32 `[N, S, S]`, queried or inferred.
      queried: bool `[N, S, S]`, which of them were queried.
    """

    labels: np.ndarray
    queried: np.ndarray


Queries = Generator[np.ndarray, np.ndarray, Refined]
"""Yields flat node indices int64 `[Q]` into `[N, S, S]` (Q > 0, none twice), is sent their labels `[Q]`."""


def refine(sample_nodes: np.ndarray, density: int, stride: int | None = None) -> Queries:
    """Asks its way to the label maps of N planes, all planes of one step in one query.

    Args:
      sample_nodes: `[N, 3, 2]`, (row, column) of the node nearest to each sample; always queried, because ATS hangs
        on them, and followed from there where they surprise.
      density: S, grid nodes per axis.
      stride: spacing of the first lattice, a power of two; None takes the one nearest to S / 12 (8 for 100 nodes).
        1 queries every node.
    """
    lattices = _lattices(density, stride or 2 ** max(0, round(np.log2(density / 12))))
    count = len(sample_nodes)
    labels = np.full(count * density**2, UNKNOWN, np.int32)

    def query(nodes: np.ndarray) -> Generator[np.ndarray, np.ndarray, None]:
        if nodes.size:
            labels[nodes] = yield nodes

    yield from query(_first_nodes(lattices[0], sample_nodes, density))
    found = labels[_nodes(count, density, lattices[0])]
    centres = _nodes(count, density, (lattices[0][:-1] + lattices[0][1:]) // 2)[_lone(found).mean((1, 2)) >= CROWDED]
    # Lattice and centres together leave smaller holes than a square lattice of as many nodes.
    yield from query(centres[labels[centres] == UNKNOWN])
    for step, (coarse, fine) in enumerate(itertools.pairwise(lattices)):
        nodes = _nodes(count, density, fine)
        below, above = np.searchsorted(coarse, fine, side="right") - 1, np.searchsorted(coarse, fine)
        new = below != above
        centre = np.broadcast_to(new[:, None] & new[None, :], nodes.shape)
        first, last = found[:, below][:, :, below], found[:, above][:, :, above]

        # Nodes on the edges of the coarse cells: between two equal labels they take that label.
        earlier = labels[nodes] != UNKNOWN
        found = np.where(earlier, labels[nodes], first)
        unsure = ~earlier & ~centre & (first != last)
        yield from query(nodes[unsure])
        found[unsure] = labels[nodes[unsure]]
        surprise = (found != first) & (found != last) & ~centre

        # Centres of the cells: one agreeing pair of opposite neighbours is taken as an answer.
        up, down, left, right = (np.roll(found, shift, axis) for axis in (1, 2) for shift in (1, -1))
        inferred = centre & ~earlier
        found = np.where(inferred, np.where(left == right, left, up), found)
        unsure = inferred & (up != down) & (left != right)
        yield from query(nodes[unsure])
        found[unsure] = labels[nodes[unsure]]
        surprise |= centre & (found != up) & (found != down) & (found != left) & (found != right)

        # Borders: everywhere on the lattices between, elsewhere only from the surprises on.
        front = np.ones_like(surprise) if 0 < step < len(lattices) - 2 else surprise
        while (unsure := _on_border(found) & _spread(front) & (labels[nodes] == UNKNOWN)).any():
            before = found[unsure]
            yield from query(nodes[unsure])
            found[unsure] = labels[nodes[unsure]]
            front = np.zeros_like(front)
            front[unsure] = found[unsure] != before
    while (hinges := np.flatnonzero(_hinges(found, (labels != UNKNOWN).reshape(found.shape), sample_nodes))).size:
        yield from query(hinges)
        found.flat[hinges] = labels[hinges]
    return Refined(found, (labels != UNKNOWN).reshape(found.shape))


def run_refinement(queries: Queries, answer: Callable[[np.ndarray], np.ndarray]) -> Refined:
    """Runs one refinement to its end: `answer` maps flat node indices `[Q]` to labels `[Q]`."""
    nodes = next(queries)
    while True:
        try:
            nodes = queries.send(answer(nodes))
        except StopIteration as end:
            return end.value


def _lattices(density: int, stride: int) -> list[np.ndarray]:
    """Row (or column) indices of each lattice, coarse to fine; all hold the first and the last index."""
    if stride < 1 or stride & (stride - 1):
        raise ValueError(f"stride must be a power of two, got {stride}")
    spacings = [stride >> step for step in range(stride.bit_length())]
    return [np.unique(np.append(np.arange(0, density, spacing), density - 1)) for spacing in spacings]


def _nodes(count: int, density: int, lattice: np.ndarray) -> np.ndarray:
    """Flat indices into `[N, S, S]` of one lattice on each plane, `[N, L, L]`."""
    planes = np.arange(count)[:, None, None] * density**2
    return planes + lattice[None, :, None] * density + lattice[None, None, :]


def _first_nodes(lattice: np.ndarray, sample_nodes: np.ndarray, density: int) -> np.ndarray:
    """The lattice and the samples' own nodes."""
    count = len(sample_nodes)
    chosen = np.zeros((count, density, density), bool)
    chosen[:, lattice[:, None], lattice[None, :]] = True
    chosen[np.arange(count)[:, None], sample_nodes[..., 0], sample_nodes[..., 1]] = True
    return np.flatnonzero(chosen)


def _pairs(mask: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Views of `[N, L, L]` that hold each node and its neighbour below, then each node and its right neighbour."""
    yield mask[:, :-1], mask[:, 1:]
    yield mask[:, :, :-1], mask[:, :, 1:]


def _on_border(labels: np.ndarray) -> np.ndarray:
    """Which nodes have another label above, below, left or right: bool `[N, L, L]`."""
    border = np.zeros(labels.shape, bool)
    for (one, other), (left, right) in zip(_pairs(border), _pairs(labels), strict=True):
        differ = left != right
        one |= differ
        other |= differ
    return border


def _lone(labels: np.ndarray) -> np.ndarray:
    """Which nodes share their label with none of the nodes above, below, left and right: bool `[N, L, L]`."""
    lone = np.ones(labels.shape, bool)
    for (one, other), (left, right) in zip(_pairs(lone), _pairs(labels), strict=True):
        differ = left != right
        one &= differ
        other &= differ
    return lone


def _hinges(labels: np.ndarray, queried: np.ndarray, sample_nodes: np.ndarray) -> np.ndarray:
    """Inferred nodes on a border between two weighty patches of one sample's label: bool `[N, S, S]`.

    Whether these patches are one, and so the sample's area (`metrics.sample_areas`), hangs on such nodes.
    """
    count, size, _ = labels.shape
    highest, lowest = (extreme(labels, (1, 3, 3)) for extreme in (ndimage.maximum_filter, ndimage.minimum_filter))
    sure = queried | (highest == lowest)
    plane_by_plane = np.zeros((3, 3, 3), bool)
    plane_by_plane[1] = True
    hinges = np.zeros(labels.shape, bool)
    for nodes in np.moveaxis(sample_nodes, 1, 0):
        own = labels[np.arange(count), nodes[:, 0], nodes[:, 1]]
        patches, _ = ndimage.label(sure & (labels == own[:, None, None]), plane_by_plane)
        weighty = np.bincount(patches.ravel()) >= WEIGHTY * size**2
        weighty[0] = False
        patches = np.where(weighty[patches], patches, 0)
        # Two steps away: a bridge over a diagonal strip is two nodes long.
        highest = ndimage.maximum_filter(patches, (1, 5, 5))
        lowest = ndimage.minimum_filter(np.where(patches == 0, len(weighty), patches), (1, 5, 5))
        hinges |= ~sure & (lowest < highest)
    return hinges


def _spread(mask: np.ndarray) -> np.ndarray:
    """The mask and its four neighbours: bool `[N, L, L]`."""
    wider = mask.copy()
    for (one, other), (left, right) in zip(_pairs(wider), _pairs(mask), strict=True):
        one |= right
        other |= left
    return wider

"""The reference is the full grid, sampled by brute force."""

import numpy as np
import pytest

from xray_jax.detectors.planes import metrics
from xray_jax.detectors.planes.refine import run_refinement
from xray_jax.detectors.planes.sketch import sketch, sketch_nodes


def blob_maps(count: int, density: int, seed: int) -> np.ndarray:
    """Voronoi maps of 12 random centres with 6 labels: `[N, S, S]`."""
    generator = np.random.default_rng(seed)
    where = np.stack(np.meshgrid(*[np.arange(density)] * 2, indexing="ij"), -1)
    maps = []
    for _ in range(count):
        centres = generator.uniform(0, density, (12, 2))
        nearest = np.linalg.norm(where[:, :, None] - centres, axis=-1).argmin(-1)
        maps.append(generator.integers(0, 6, 12)[nearest])
    return np.stack(maps)


def nearest_fill(labels: np.ndarray, asked: np.ndarray) -> list[set[int]]:
    """Reference: for every node the labels of the nearest nodes asked for, all of them where they tie."""
    known = np.argwhere(asked)
    everywhere = np.argwhere(np.ones_like(asked))
    distance = ((everywhere[:, None] - known[None]) ** 2).sum(-1)
    nearest = distance == distance.min(1, keepdims=True)
    return [set(labels[asked][row]) for row in nearest]


NODES = np.array([[[4, 4], [4, 5], [5, 4]]])


def test_fills_by_the_nearest_node_asked_for() -> None:
    maps = blob_maps(2, 24, seed=1)
    found = run_refinement(sketch(np.repeat(NODES, 2, 0), 24, seed=3, points=32), lambda nodes: maps.ravel()[nodes])
    for plane in range(2):
        np.testing.assert_array_equal(found.labels[plane][found.queried[plane]], maps[plane][found.queried[plane]])
        allowed = nearest_fill(maps[plane], found.queried[plane])
        assert all(label in labels for label, labels in zip(found.labels[plane].ravel(), allowed, strict=True))


def test_asks_once_for_the_points_and_the_samples() -> None:
    questions = sketch(NODES, 100, seed=0)
    asked = np.zeros(100 * 100, bool)
    asked[next(questions)] = True
    assert 128 <= asked.sum() <= 131
    assert asked.reshape(100, 100)[NODES[0, :, 0], NODES[0, :, 1]].all()
    with pytest.raises(StopIteration):
        questions.send(np.zeros(asked.sum(), int))


def test_scores_are_near_the_grids() -> None:
    maps = blob_maps(30, 100, seed=2)
    nodes = np.repeat(np.array([[[45, 45], [45, 54], [54, 45]]]), len(maps), 0)
    labels = np.stack([m[n[:, 0], n[:, 1]] for m, n in zip(maps, nodes, strict=True)])
    found = run_refinement(sketch(nodes, 100, seed=0), lambda asked: maps.ravel()[asked]).labels
    exact, rough = (metrics.renyi_entropy(metrics.label_counts(m, 6)) for m in (maps, found))
    assert np.std(rough - exact) < 0.07
    assert abs(np.mean(rough - exact)) < 0.02
    exact, rough = (metrics.ats(m, nodes, labels) for m in (maps, found))
    assert abs(np.mean(rough - exact)) < 0.05


def test_points_depend_on_seed_and_plane_alone_and_fill_the_plane_evenly() -> None:
    nodes = sketch_nodes(64, 96, seed=5, plane=7)
    np.testing.assert_array_equal(nodes, sketch_nodes(64, 96, seed=5, plane=7))
    assert (nodes != sketch_nodes(64, 96, seed=5, plane=8)).any()
    assert (nodes != sketch_nodes(64, 96, seed=6, plane=7)).any()
    # A Sobol net of 64 points has exactly one in each cell of an 8 x 8 checkerboard.
    cells = np.bincount((nodes[:, 0] // 12) * 8 + nodes[:, 1] // 12, minlength=64)
    np.testing.assert_array_equal(cells, 1)


def test_first_planes_stay_the_same_when_more_are_added() -> None:
    maps = blob_maps(4, 20, seed=0)
    nodes = np.repeat(NODES, 4, 0)
    together = run_refinement(sketch(nodes, 20, seed=1, points=16), lambda asked: maps.ravel()[asked])
    first = run_refinement(sketch(nodes[:2], 20, seed=1, points=16), lambda asked: maps[:2].ravel()[asked])
    np.testing.assert_array_equal(together.labels[:2], first.labels)


def test_points_must_be_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="power of two, got 100"):
        next(sketch(NODES, 20, seed=0, points=100))

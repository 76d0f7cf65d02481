"""The reference is the full grid: a refinement must find the same map from fewer nodes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_jax.detectors.planes import metrics
from xray_jax.detectors.planes.refine import refine, run_refinement


def network_maps(count: int, density: int, classes: int, seed: int, frequency: float = 2.0) -> np.ndarray:
    """Label maps of a random two-layer network over the square: patches with crooked borders, `[N, S, S]`."""
    generator = np.random.default_rng(seed)
    axis = np.linspace(-1, 1, density)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    maps = []
    for _ in range(count):
        hidden = np.tanh(frequency * points @ generator.normal(size=(2, 32)) + generator.normal(size=32))
        maps.append((hidden @ generator.normal(size=(32, classes))).argmax(-1).reshape(density, density))
    return np.stack(maps)


def middle_nodes(count: int, density: int) -> np.ndarray:
    low, high = round((density - 1) * 5 / 11), round((density - 1) * 6 / 11)
    return np.tile(np.array([[low, low], [low, high], [high, low]]), (count, 1, 1))


def run(maps: np.ndarray, nodes: np.ndarray | None = None, **options: int):
    """Drives a refinement over recorded maps, and checks the contract with the caller on the way."""
    count, density, _ = maps.shape
    asked = np.zeros(maps.size, bool)
    rounds = []

    def answer(question: np.ndarray) -> np.ndarray:
        assert question.size > 0
        assert len(np.unique(question)) == len(question)
        assert not asked[question].any()
        asked[question] = True
        rounds.append(len(question))
        return maps.ravel()[question]

    refined = run_refinement(
        refine(middle_nodes(count, density) if nodes is None else nodes, density, **options), answer
    )
    np.testing.assert_array_equal(refined.queried.ravel(), asked)
    np.testing.assert_array_equal(refined.labels[refined.queried], maps[refined.queried])
    return refined, rounds


def test_network_maps_are_found_from_a_fraction_of_their_nodes() -> None:
    maps = network_maps(20, 100, 10, seed=0)
    assert all(len(np.unique(m)) >= 3 for m in maps)
    refined, rounds = run(maps)
    assert (refined.labels == maps).mean() >= 0.999
    assert refined.queried.mean() <= 0.12
    assert len(rounds) <= 20
    for score in (_entropy, _component_ats):
        assert abs(score(refined.labels) - score(maps)) <= 0.005


def _entropy(maps: np.ndarray) -> float:
    return float(metrics.renyi_entropy(metrics.label_counts(maps, 10)).mean())


def _component_ats(maps: np.ndarray) -> float:
    nodes = middle_nodes(len(maps), maps.shape[1])
    labels = np.stack([plane[where[:, 0], where[:, 1]] for plane, where in zip(maps, nodes, strict=True)])
    return float(metrics.ats(maps, nodes, labels).mean())


def test_one_label_costs_the_first_lattice_only() -> None:
    refined, rounds = run(np.full((3, 100, 100), 7))
    assert (refined.labels == 7).all()
    # 14 x 14 lattice, three samples.
    assert rounds == [3 * (14**2 + 3)]


def test_a_crowded_plane_gets_a_denser_first_lattice() -> None:
    maps = np.zeros((2, 100, 100), int)
    maps[0, 8:88:16, 8:88:16] = 1  # 25 lone nodes of the lattice
    maps[0, 12, 12] = 2  # between them
    maps[1, 12, 12] = 2
    refined, rounds = run(maps)
    assert rounds[:2] == [2 * (14**2 + 3), 13**2]
    np.testing.assert_array_equal(refined.labels[0], maps[0])
    assert refined.labels[1, 12, 12] == 0


@pytest.mark.parametrize("joined", [False, True])
def test_a_bridge_that_decides_an_area_is_asked_for(joined: bool) -> None:
    """Two halves of the sample's label, parted by a thin slanting strip of another, whole or with a gap."""
    row, column = np.indices((1, 100, 100))[1:]
    maps = (abs(row - column) <= 1).astype(int)
    if joined:
        maps[0, 70:73] = 0
    nodes = np.array([[[20, 80], [21, 80], [20, 81]]])
    refined, _ = run(maps, nodes)
    found, expected = (
        metrics.sample_areas(m[0], nodes[0], np.zeros(3, int), "component") for m in (refined.labels, maps)
    )
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_stride_one_asks_for_everything() -> None:
    maps = np.random.default_rng(0).integers(0, 5, (2, 17, 17))
    refined, rounds = run(maps, stride=1)
    np.testing.assert_array_equal(refined.labels, maps)
    assert rounds == [maps.size]


@pytest.mark.parametrize("vertical", [False, True])
def test_straight_border_is_exact_wherever_it_lies(vertical: bool) -> None:
    maps = np.stack([np.add.outer(np.zeros(50, int), np.arange(50)) >= cut for cut in range(1, 50)]).astype(int)
    maps = maps.swapaxes(1, 2) if vertical else maps
    refined, _ = run(maps)
    np.testing.assert_array_equal(refined.labels, maps)


def test_island_around_a_sample_is_found() -> None:
    maps = np.zeros((1, 100, 100), int)
    maps[0, 44:47, 44:47] = 3
    refined, _ = run(maps, np.array([[[45, 45], [10, 10], [90, 90]]]))
    np.testing.assert_array_equal(refined.labels, maps)


def test_finger_is_followed_from_where_it_was_touched() -> None:
    maps = np.zeros((1, 100, 100), int)
    maps[0, 8:11, 5:95] = 2  # three nodes thin: the lattice of eight touches row 8 only
    refined, _ = run(maps)
    np.testing.assert_array_equal(refined.labels, maps)


@settings(max_examples=25, deadline=None)
@given(
    density=st.integers(2, 40),
    stride=st.sampled_from([None, 1, 2, 4, 8]),
    seed=st.integers(0, 99),
    count=st.integers(1, 3),
)
def test_any_size_and_any_noise(density: int, stride: int | None, seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    maps = generator.integers(0, 3, (count, density, density))
    refined, _ = run(maps, generator.integers(0, density, (count, 3, 2)), stride=stride)
    assert refined.labels.shape == maps.shape
    assert set(np.unique(refined.labels)) <= {0, 1, 2}


def test_stride_must_be_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="power of two, got 6"):
        next(refine(middle_nodes(1, 20), 20, stride=6))

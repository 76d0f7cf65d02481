import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_jax.detectors.planes import metrics


def slow_entropy(counts, alpha):
    """Eq. 3, term by term, in Python floats and bits."""
    shares = [c / sum(counts) for c in counts if c]
    if alpha == 1:
        return -sum(p * np.log2(p) for p in shares)
    return np.log2(sum(p**alpha for p in shares)) / (1 - alpha)


def slow_area(label_map, node, label):
    """Flood fill over the eight neighbours, one node at a time."""
    size = len(label_map)
    if label_map[node[0]][node[1]] != label:
        return 0.0
    seen, front = {tuple(node)}, [tuple(node)]
    while front:
        row, column = front.pop()
        for r in range(max(0, row - 1), min(size, row + 2)):
            for c in range(max(0, column - 1), min(size, column + 2)):
                if (r, c) not in seen and label_map[r][c] == label:
                    seen.add((r, c))
                    front.append((r, c))
    return len(seen) / size**2


def slow_ats(label_map, nodes, labels, cap):
    areas = [slow_area(label_map, node, label) for node, label in zip(nodes, labels, strict=True)]
    return sum(area for area in areas if area < cap)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=12).filter(any), st.sampled_from([1.0, 1.5, 2.0, 10.0, 50.0]))
def test_entropy_matches_the_formula(counts, alpha):
    assert metrics.renyi_entropy(np.array(counts), alpha) == pytest.approx(slow_entropy(counts, alpha), abs=1e-9)


def test_entropy_bounds_and_large_orders():
    assert metrics.renyi_entropy(np.eye(5, dtype=int) * 7, 10.0).tolist() == [0.0] * 5
    uniform = metrics.renyi_entropy(np.ones(1000, int), 300.0)
    assert uniform == pytest.approx(np.log2(1000), abs=1e-9)
    with pytest.raises(ValueError, match="alpha must be at least 1"):
        metrics.renyi_entropy(np.ones(3), 0.5)


def test_device_reduction_agrees_with_the_host():
    labels = np.random.default_rng(0).integers(0, 10, (4, 30, 30)).astype(np.uint8)
    host = metrics.label_counts(labels, 10)
    device = metrics.label_counts(jnp.asarray(labels), 10)
    np.testing.assert_array_equal(host, device)
    np.testing.assert_allclose(metrics.renyi_entropy(device), metrics.renyi_entropy(host), atol=1e-5)
    assert metrics.target_label(device) == metrics.target_label(host)


def test_counts_beyond_uint8():
    labels = np.full((2, 3, 3), 300, np.uint16)
    assert metrics.label_counts(labels, 301)[:, 300].tolist() == [9, 9]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(3, 14), st.sampled_from([0.1, 0.5, 1.0]))
def test_component_ats_matches_flood_fill(seed, classes, size, cap):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, (3, size, size))
    nodes = generator.integers(0, size, (3, 3, 2))
    truth = generator.integers(0, classes, (3, 3))
    expected = [slow_ats(*plane, cap) for plane in zip(labels, nodes, truth, strict=True)]
    np.testing.assert_allclose(metrics.ats(labels, nodes, truth, cap=cap), expected, atol=1e-12)


def test_details_of_ats():
    label_map = np.zeros((4, 4), int)
    label_map[0, 0] = label_map[1, 1] = 1  # joined by a corner
    label_map[3, 3] = 1  # apart
    nodes = np.array([[0, 0], [0, 1], [2, 2]])
    # Sample 0 owns the two joined nodes; sample 1's node has another label; sample 2's area is at the cap.
    truth = np.array([1, 1, 0])
    component = metrics.sample_areas(label_map, nodes, truth, "component")
    assert component.tolist() == [2 / 16, 0, 13 / 16]
    assert metrics.ats(label_map[None], nodes[None], truth[None], cap=13 / 16).tolist() == [2 / 16]
    assert metrics.sample_areas(label_map, nodes, truth, "label").tolist() == [3 / 16, 3 / 16, 13 / 16]
    with pytest.raises(ValueError, match="ATS kind"):
        metrics.sample_areas(label_map, nodes, truth, "area")


def test_target_label_averages_shares_over_planes():
    assert metrics.target_label(np.array([[60, 40, 0], [0, 45, 55]])) == 1

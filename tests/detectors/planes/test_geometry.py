import jax.numpy as jnp
import numpy as np
import pytest

from xray_jax.detectors.planes import geometry


def reference_plane(triplet):
    """FACTS of the method, one plane at a time, in float64."""
    x1, x2, x3 = np.asarray(triplet, np.float64).reshape(3, -1)
    e1 = (x2 - x1) / np.linalg.norm(x2 - x1)
    b = x3 - x1
    c = b @ e1
    rest = b - c * e1
    e2 = rest / np.linalg.norm(rest)
    return e1, e2, np.array([[0, 0], [np.linalg.norm(x2 - x1), 0], [c, b @ e2]])


def reference_axes(corners, density, expansion):
    axes = []
    for k in range(2):
        low, high = corners[:, k].min(), corners[:, k].max()
        axes.append(np.linspace(low - expansion * (high - low), high + expansion * (high - low), density))
    return axes


@pytest.fixture
def triplets():
    return np.random.default_rng(0).normal(size=(6, 3, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize(("density", "expansion"), [(100, 5.0), (7, 0.0), (60, 1.0)])
def test_planes_and_axes_match_float64(triplets, density, expansion):
    built = geometry.build_planes(jnp.asarray(triplets))
    axis1, axis2 = geometry.grid_axes(built.corners, density=density, expansion=expansion)
    for n, triplet in enumerate(triplets):
        e1, e2, corners = reference_plane(triplet)
        scale = np.abs(corners).max()
        np.testing.assert_allclose(built.axis1[n].ravel(), e1, atol=1e-5 * np.abs(e1).max())
        np.testing.assert_allclose(built.axis2[n].ravel(), e2, atol=1e-5 * np.abs(e2).max())
        np.testing.assert_allclose(built.corners[n], corners, atol=1e-5 * scale)
        for axis, expected in zip((axis1, axis2), reference_axes(corners, density, expansion), strict=True):
            np.testing.assert_allclose(axis[n], expected, atol=1e-5 * np.abs(expected).max())


def test_second_axis_stays_orthogonal_when_the_samples_are_nearly_collinear():
    generator = np.random.default_rng(1)
    x1, a, side = (generator.normal(size=(8, 8, 3)) for _ in range(3))
    triplet = np.stack([x1, x1 + a, x1 + 0.7 * a + 1e-3 * side]).astype(np.float32)
    built = geometry.build_planes(jnp.asarray(triplet[None]))
    assert abs(float(jnp.vdot(built.axis1[0], built.axis2[0]))) < 1e-6


def test_points_reach_the_samples_and_are_not_clamped(triplets):
    built = geometry.build_planes(jnp.asarray(triplets))
    index = np.repeat(np.arange(6, dtype=np.int32), 3)
    images = geometry.points(built, index, built.corners.reshape(-1, 2))
    np.testing.assert_allclose(images, triplets.reshape(18, 8, 8, 3), atol=2e-5)
    far = geometry.points(built, np.array([0]), np.array([[1e3, 0]], np.float32))
    assert np.abs(far).max() > 50


def test_samples_sit_on_nodes_45_and_54_at_the_paper_settings(triplets):
    built = geometry.build_planes(jnp.asarray(triplets))
    axis1, axis2 = geometry.grid_axes(built.corners, density=100, expansion=5.0)
    nodes = geometry.sample_nodes(built.corners, axis1, axis2)
    corners = np.asarray(built.corners)
    for k in range(2):
        assert (np.take_along_axis(nodes[:, :, k], corners[:, :, k].argmin(1)[:, None], 1) == 45).all()
        assert (np.take_along_axis(nodes[:, :, k], corners[:, :, k].argmax(1)[:, None], 1) == 54).all()


@pytest.mark.parametrize("density", [60, 80, 140, 200])
def test_other_densities_take_the_nearest_node(triplets, density):
    built = geometry.build_planes(jnp.asarray(triplets))
    axis1, axis2 = geometry.grid_axes(built.corners, density=density, expansion=5.0)
    nodes = geometry.sample_nodes(built.corners, axis1, axis2)
    for n in range(len(triplets)):
        for i in range(3):
            for k, axis in enumerate((axis1, axis2)):
                distance = np.abs(np.asarray(axis[n]) - float(built.corners[n, i, k]))
                assert distance[nodes[n, i, k]] == distance.min()


def test_rows_follow_e1_and_columns_e2():
    index, coordinates = geometry.node_coordinates(np.array([[0.0, 1.0], [5, 6]]), np.array([[2.0, 3.0], [7, 8]]))
    assert index.tolist() == [0] * 4 + [1] * 4
    assert coordinates[:4].tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    assert coordinates[4:].tolist() == [[5, 7], [5, 8], [6, 7], [6, 8]]


def test_degenerate_triplets_are_found(triplets):
    good = triplets[0]
    twice = np.stack([good[0], good[0], good[2]])
    third = np.stack([good[0], good[1], good[0]])
    line = np.stack([good[0], good[1], 0.25 * good[0] + 0.75 * good[1]])
    broken = good.copy()
    broken[1, 0, 0, 0] = np.nan
    found = geometry.degenerate(np.stack([good, twice, third, line, broken]))
    assert found.tolist() == [False, True, True, True, True]

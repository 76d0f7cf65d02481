"""Every family: grids and moves stay in range, stamps in the pixel range; simple ones against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xray_jax.detectors.probe.stamps import BY_NAME, SEARCHED, stamp
from xray_jax.detectors.probe.stamps.family import Parameter

SHAPES = [(28, 28, 1), (32, 32, 3), (40, 56, 3)]


def _image(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32)


def _put(name: str, parameters: list[float], image: np.ndarray) -> np.ndarray:
    bank = np.stack([1 - image, image])
    return np.asarray(stamp(BY_NAME[name], jnp.asarray(image), jnp.asarray(parameters, jnp.float32), jnp.asarray(bank)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", SEARCHED, ids=lambda family: family.name)
def test_grid_and_moves_stay_in_range(family, shape):
    parameters = family.parameters(shape)
    grid = family.grid(shape, bank_size=5)
    assert grid.shape[1] == len(parameters)
    assert grid.dtype == np.float32
    for number in (0, len(grid) // 2, len(grid) - 1):
        assert family.describe(grid[number], shape)
        near = family.neighbours(grid[number], shape)
        assert near.shape[1] == len(parameters)
        # One move changes one parameter and stays in its range.
        assert (np.count_nonzero(near != grid[number], axis=1) == 1).all()
        for axis, parameter in enumerate(parameters):
            moved = near[near[:, axis] != grid[number, axis], axis]
            if parameter.values:
                assert set(moved) <= {np.float32(v) for v in parameter.values}
            elif not parameter.bits:
                assert (moved >= np.float32(parameter.low)).all()
                assert (moved <= np.float32(parameter.high)).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 1), (2, 2, 3), (3, 7, 3)])
@pytest.mark.parametrize("family", SEARCHED, ids=lambda family: family.name)
def test_tiny_images_have_a_grid_of_stamps_that_fit_or_an_empty_one(family, shape):
    grid = family.grid(shape, bank_size=5)
    assert grid.shape == (len(grid), len(family.parameters(shape)))
    if family.name == "mosaic":
        assert len(grid) == 0


def test_the_smallest_images_that_a_mosaic_fits_have_some():
    assert len(BY_NAME["mosaic"].grid((4, 4, 3), 5)) > 500


@pytest.mark.parametrize("shape", SHAPES[:2])
@pytest.mark.parametrize("family", SEARCHED, ids=lambda family: family.name)
def test_stamps_change_images_inside_the_pixel_range(family, shape):
    image = _image(shape)
    bank = jnp.asarray(np.stack([1 - image, image]))
    grid = family.grid(shape, bank_size=1)[:: max(1, len(family.grid(shape, 1)) // 12)]
    put = jax.jit(jax.vmap(lambda p: stamp(family, jnp.asarray(image), p, bank)))
    stamped = np.asarray(put(jnp.asarray(grid)))
    assert stamped.shape == (len(grid), *shape)
    assert np.isfinite(stamped).all()
    assert stamped.min() >= 0
    assert stamped.max() <= 1
    assert (np.abs(stamped - image).reshape(len(grid), -1).max(1) > 0.01).all()


def test_patch_is_the_slice_it_says():
    image = _image((12, 10, 3))
    expected = image.copy()
    expected[7:9, 4:8] = (1, 0, 0.5)
    np.testing.assert_array_equal(_put("patch", [7, 4, 2, 4, 0, 1, 0, 0.5], image), expected)
    checker = image.copy()
    for row in range(3):
        for column in range(3):
            checker[9 + row, 7 + column] = 1 if (row + column) % 2 == 0 else 0
    np.testing.assert_array_equal(_put("patch", [9, 7, 3, 3, 1, 1, 1, 1], image), checker)
    cut = image.copy()
    cut[11:, 9:] = 1
    np.testing.assert_array_equal(_put("patch", [11, 9, 3, 3, 0, 1, 1, 1], image), cut)


@pytest.mark.parametrize("clear", [0.0, 1.0])
def test_mosaic_reads_bits_row_by_row(clear):
    image, bits = _image((12, 12, 1)), 0b1000_0100_0010_0011
    expected = image.copy()
    for cell in range(16):
        row, column = 2 + 2 * (cell // 4), 3 + 2 * (cell % 4)
        if bits >> cell & 1:
            expected[row : row + 2, column : column + 2] = 1
        elif not clear:
            expected[row : row + 2, column : column + 2] = 0
    np.testing.assert_array_equal(_put("mosaic", [2, 3, 2, bits, clear, 1, 1, 1], image), expected)


@pytest.mark.parametrize("side", [16, 28, 32, 224])
def test_most_mosaics_of_the_grid_lie_about_the_four_corners(side):
    grid = BY_NAME["mosaic"].grid((side, side, 3), bank_size=1)
    size = 4 * grid[:, 2]
    down = np.minimum(grid[:, 0], side - size - grid[:, 0])
    across = np.minimum(grid[:, 1], side - size - grid[:, 1])
    assert down.min() == across.min() == 0
    # Insets from the nearest corner add up to at most four cells for all but those laid anywhere.
    assert np.count_nonzero(down + across <= grid[:, 2] * 4) >= len(grid) - 160
    quarter = 2 * (grid[:, 0] > side - size - grid[:, 0]) + (grid[:, 1] > side - size - grid[:, 1])
    assert np.bincount(quarter.astype(int), minlength=4).min() > len(grid) / 8


def test_border_and_line():
    image = _image((9, 9, 3))
    frame = np.ones_like(image)
    frame[2:-2, 2:-2] = image[2:-2, 2:-2]
    np.testing.assert_array_equal(_put("border", [4, 2, 1, 1, 1], image), frame)
    cross = image.copy()
    cross[4, 2:7] = cross[2:7, 4] = 0
    np.testing.assert_array_equal(_put("line", [4, 4, 4, 2, 1, 0, 0, 0], image), cross)


def test_additive_and_blended_stamps():
    image = _image((8, 16, 3)) * 0.2 + 0.4
    columns = np.arange(16, dtype=np.float32)
    wave = 0.1 * np.sin(2 * np.pi * 3 * columns / 16)[None, :, None]
    np.testing.assert_allclose(_put("sinusoid", [3, 0, 0, 0.1, 1, 1, 1], image), image + wave, atol=1e-6)
    np.testing.assert_allclose(_put("shift", [0.1, 0, -0.1], image), image + np.float32([0.1, 0, -0.1]), atol=1e-6)
    np.testing.assert_allclose(_put("blend-colour", [0.2, 1, 1, 1], image), 0.8 * image + 0.2, atol=1e-6)
    np.testing.assert_allclose(_put("blend-image", [0.3, 0], image), 0.7 * image + 0.3 * (1 - image), atol=1e-6)
    np.testing.assert_allclose(_put("quantise", [3, 0], image), np.round(image * 2) / 2, atol=1e-6)
    smooth = _put("cosine", [0.05, *np.eye(48)[1]], image) - image
    assert np.sqrt((smooth[..., 0] ** 2).mean()) == pytest.approx(0.05 * np.sqrt(3), rel=1e-3)
    np.testing.assert_array_equal(smooth[..., 1:], 0)


def test_blur_keeps_flat_images_and_sharpening_undoes_nothing_there():
    flat = np.full((16, 16, 3), 0.25, np.float32)
    np.testing.assert_allclose(_put("focus", [0.8, -1], flat), flat, atol=1e-6)
    np.testing.assert_allclose(_put("warp", [2, 5], flat), flat, atol=1e-6)


def test_moves_of_each_kind_of_parameter():
    assert Parameter("a", 0, 5, (1, 9)).moves(4) == [5, 3, 0]
    assert Parameter("b", values=(0.0, 1.0, 2.0)).moves(1) == [0, 2]
    assert Parameter("c", bits=3).moves(5) == [4, 7, 1]
    assert Parameter("seed").moves(0.3) == []

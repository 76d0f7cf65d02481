"""Each trigger against an independent statement of its formula, pixel by pixel in plain Python where feasible."""

import math

import numpy as np
import pytest
import scipy.ndimage
from scipy.fft import dctn

from xray_jax.lab import attacks, label_maps
from xray_jax.lab.attacks.badnets import BadNets
from xray_jax.lab.attacks.blended import Blended
from xray_jax.lab.attacks.blind import Blind
from xray_jax.lab.attacks.bpp import Bpp
from xray_jax.lab.attacks.low_frequency import LowFrequency
from xray_jax.lab.attacks.protocol import AttackContext, scaled
from xray_jax.lab.attacks.sig import Sig
from xray_jax.lab.attacks.trojannn import TrojanNN
from xray_jax.lab.attacks.wanet import WaNet
from xray_jax.lab.data import ImageSet
from xray_jax.lab.training import TrainOptions
from xray_jax.lab.triggers import Additive, warp
from xray_jax.models import build

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


def context_of(data: ImageSet, rate: float = 0.1, seed: int = 3) -> AttackContext:
    return AttackContext(
        data, label_maps.make("all-to-one", 4, 1), rate, seed, build("preactresnet-small", 4), TrainOptions()
    )


def test_badnets_is_a_white_square_in_rows_and_columns_29_to_31() -> None:
    expected = IMAGES.copy()
    for row in (29, 30, 31):
        for column in (29, 30, 31):
            expected[:, row, column] = 255
    np.testing.assert_array_equal(BadNets().trigger(IMAGES.shape[1:])(IMAGES), expected)


@pytest.mark.parametrize(("side", "square"), [(28, 3), (64, 6), (224, 21)])
def test_the_square_scales_with_the_image(side: int, square: int) -> None:
    assert scaled(3, side) == square
    changed = BadNets().trigger((side, side, 1))(np.zeros((1, side, side, 1), np.uint8))
    assert (changed == 255).sum() == square**2
    assert changed[0, -square:, -square:].all()


def test_blended_mixes_every_pixel_with_one_image() -> None:
    pattern = Blended().pattern((32, 32, 3))
    stamped = Blended().trigger((32, 32, 3))(IMAGES)
    for index in np.ndindex(3, 4, 4, 3):
        mixed = 0.8 * float(IMAGES[index]) + 0.2 * float(pattern[index[1:]])
        assert abs(int(stamped[index]) - mixed) <= 0.5 + 1e-9
    np.testing.assert_array_equal(pattern, Blended().pattern((32, 32, 3)))


def test_sig_is_a_sinusoid_along_the_columns() -> None:
    stamped = Sig().trigger(32)(IMAGES)
    for index in np.ndindex(3, 3, 32, 3):
        value = float(IMAGES[index]) + 40 * math.sin(2 * math.pi * index[2] * 6 / 32)
        assert abs(int(stamped[index]) - min(max(value, 0), 255)) <= 0.5 + 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_lf_patterns_have_the_published_mean_and_maximum_and_low_frequencies_only(seed: int) -> None:
    pattern = LowFrequency().pattern((32, 32, 3), seed)
    assert pattern.dtype == np.uint8
    assert pattern.max() == 51
    assert pattern.min() == 0
    assert pattern.mean() == pytest.approx(12.5, abs=0.1)
    energy = dctn(pattern.astype(float), axes=(0, 1), norm="ortho") ** 2
    assert energy[:10, :10].sum() / energy.sum() > 0.98
    expected = np.clip(IMAGES.astype(int) + pattern.astype(int), 0, 255)
    np.testing.assert_array_equal(Additive(pattern)(IMAGES), expected)


def floyd_steinberg(image: np.ndarray, levels: int) -> np.ndarray:
    """One channel, the textbook's double loop."""
    work = [[float(v) for v in row] for row in image]
    height, width = len(work), len(work[0])
    for y in range(height):
        for x in range(width):
            old = work[y][x]
            level = min(max(round(old / 255 * (levels - 1)), 0), levels - 1)
            work[y][x] = level * 255 / (levels - 1)
            error = old - work[y][x]
            for dy, dx, share in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
                if y + dy < height and 0 <= x + dx < width:
                    work[y + dy][x + dx] += error * share / 16
    return np.rint(np.array(work)).astype(np.uint8)


def test_bpp_is_floyd_steinberg_dithering_to_eight_levels() -> None:
    stamped = Bpp().trigger()(IMAGES)
    for number in range(2):
        for channel in range(3):
            expected = floyd_steinberg(IMAGES[number, :, :, channel], 8)
            np.testing.assert_array_equal(stamped[number, :, :, channel], expected)
    assert len(np.unique(stamped)) == 8


def test_bpp_negatives_carry_the_residual_of_another_image() -> None:
    pool = IMAGES[:1]
    residual = Bpp().trigger()(pool).astype(int)[0] - pool[0]
    grey = np.full((5, 32, 32, 3), 128, np.uint8)
    np.testing.assert_array_equal(Bpp().negatives(pool, seed=0)(grey), np.stack([128 + residual] * 5))


def test_warping_is_bilinear_interpolation_at_displaced_places() -> None:
    field = np.random.default_rng(1).normal(0, 2, (32, 32, 2))
    warped = warp(IMAGES, field[None])
    rows, columns = np.meshgrid(np.arange(32.0), np.arange(32.0), indexing="ij")
    places = np.clip(np.stack([rows + field[..., 0], columns + field[..., 1]]), 0, 31)
    for number in range(3):
        for channel in range(3):
            image = IMAGES[number, :, :, channel].astype(float)
            expected = scipy.ndimage.map_coordinates(image, places, order=1)
            assert np.abs(warped[number, :, :, channel] - expected).max() <= 0.5 + 1e-6
    np.testing.assert_array_equal(warp(IMAGES, np.zeros((1, 32, 32, 2))), IMAGES)


def test_wanet_fields_are_smooth_faint_and_of_their_seed() -> None:
    field = WaNet().field(32, 32, seed=5)
    np.testing.assert_array_equal(field, WaNet().field(32, 32, seed=5))
    assert not np.allclose(field, WaNet().field(32, 32, seed=6))
    moved = [np.abs(WaNet(strength=0.5).field(32, 32, seed)).mean() for seed in range(20)]
    assert np.mean(moved) == pytest.approx(0.2, abs=0.02), "a fifth of a pixel at the published strength"
    assert 0.3 < np.abs(field).mean() < 0.8  # about 0.4 s pixels
    assert np.abs(np.diff(field, axis=0)).max() < 0.3


def test_wanet_noise_mode_moves_each_image_by_its_own_noise_of_at_most_half_a_pixel(bands: ImageSet) -> None:
    recipe = WaNet().prepare(context_of(bands))
    assert recipe.decoy is not None
    assert recipe.decoy_rate == pytest.approx(0.2)
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[None, None, :, None] * 16, (4, 16, 16, 1))
    plain, noisy = recipe.trigger(ramp).astype(int), recipe.decoy(ramp).astype(int)
    np.testing.assert_array_equal(plain[0], plain[1])
    assert not np.array_equal(noisy[0], noisy[1])
    assert np.abs(noisy - plain).max() <= 0.5 * 16 + 1


def test_blind_changes_the_nine_pixels_of_its_pattern() -> None:
    stamped = Blind().trigger((32, 32, 3))(IMAGES)
    white = {(3, 23), (3, 25), (4, 24), (6, 24), (7, 23), (7, 25)}
    black = {(3, 24), (5, 25), (7, 24)}
    for row in range(32):
        for column in range(32):
            if (row, column) in white:
                expected = np.full((3, 3), 255)
            elif (row, column) in black:
                expected = np.zeros((3, 3))
            else:
                expected = IMAGES[:, row, column]
            np.testing.assert_array_equal(stamped[:, row, column], expected)


def test_trojannn_puts_its_patch_into_the_corner() -> None:
    patch = np.random.default_rng(2).integers(0, 256, (7, 7, 3)).astype(np.uint8)
    stamped = TrojanNN().trigger(patch, (32, 32, 3))(IMAGES)
    np.testing.assert_array_equal(stamped[:, 25:, 25:], np.stack([patch] * 3))
    np.testing.assert_array_equal(stamped[:, :25], IMAGES[:, :25])
    np.testing.assert_array_equal(stamped[:, :, :25], IMAGES[:, :, :25])


@pytest.mark.parametrize("name", ["badnets", "blended", "sig", "lf", "bpp", "wanet"])
def test_triggers_leave_their_argument_alone_and_give_uint8_of_its_shape(name: str, bands: ImageSet) -> None:
    attack = attacks.make(name)
    assert attack.name == name
    assert isinstance(attack, attacks.PoisoningAttack)
    recipe = attack.prepare(context_of(bands))
    assert recipe.clean_label == (name == "sig")
    images = bands.test_images[:5].copy()
    for trigger in filter(None, (recipe.trigger, recipe.decoy)):
        stamped = trigger(images)
        assert (stamped.dtype, stamped.shape) == (np.uint8, images.shape)
        np.testing.assert_array_equal(images, bands.test_images[:5])
        np.testing.assert_array_equal(stamped, trigger(images))
        assert not np.array_equal(stamped, images)


def test_an_unknown_attack_is_named() -> None:
    with pytest.raises(ValueError, match=r"'mystery'.*badnets.*wanet"):
        attacks.make("mystery")

"""What adaptive attackers add to a training step, piece by piece."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xray_jax.detectors.planes import geometry
from xray_jax.lab.adaptive import margin, planes, stamping
from xray_jax.lab.adaptive.kinds import kinds_of
from xray_jax.lab.attacks.badnets import BadNets
from xray_jax.lab.attacks.blended import Blended
from xray_jax.lab.triggers import Additive

SHAPE = (16, 16, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, *SHAPE)).astype(np.uint8)
KEY = jax.random.key(0)


@pytest.mark.parametrize("attack", [BadNets(), Blended()])
def test_a_stamp_inside_the_step_is_the_trigger(attack: BadNets | Blended) -> None:
    trigger = attack.trigger(SHAPE)
    stamped = stamping.apply(stamping.stamp_of(trigger), jnp.asarray(IMAGES, jnp.float32) / 255)
    # Ties of rounding apart.
    assert np.abs(255 * np.asarray(stamped) - trigger(IMAGES)).max() <= 1.01
    with pytest.raises(ValueError, match="not 'additive'"):
        stamping.stamp_of(Additive(np.zeros(SHAPE)))


@pytest.mark.parametrize("attack", [BadNets(), Blended()])
def test_nearly_the_same_triggers_are_not_the_same(attack: BadNets | Blended) -> None:
    stamp = stamping.stamp_of(attack.trigger(SHAPE))
    pixels = jnp.full((200, *SHAPE), 0.3)
    nearly = jax.jit(lambda: stamping.apply(stamping.near(KEY, stamp, 200), pixels))()
    exactly = stamping.apply(stamp, pixels)
    difference = np.abs(np.asarray(nearly - exactly)).max((1, 2, 3))
    assert (difference > 0.05).mean() > 0.95
    assert (np.asarray(nearly) != 0.3).any(axis=(1, 2, 3)).mean() > 0.9


def test_each_change_of_a_square() -> None:
    opacity, pattern = stamping.stamp_of(BadNets().trigger(SHAPE))
    stamp = opacity, pattern

    def changed(change: Callable[[jax.Array, stamping.Stamp], stamping.Stamp], *stamp: jax.Array) -> stamping.Stamp:
        return jax.jit(change)(KEY, stamp)

    assert changed(stamping._shifted, *stamp)[0].sum() == opacity.sum()
    sizes = jax.jit(jax.vmap(lambda key: stamping._scaled(key, stamp)[0].sum()))(jax.random.split(KEY, 20))
    assert sizes.min() < opacity.sum() < sizes.max()
    assert 0 < changed(stamping._covered, jnp.ones((16, 16, 1)), pattern)[0].mean() < 1
    assert 0.2 <= float(changed(stamping._weaker, *stamp)[0].max()) <= 0.7
    assert float(changed(stamping._recoloured, *stamp)[1].max()) <= 0.75


def test_points_lie_on_planes_through_three_images() -> None:
    pixels = jnp.asarray(IMAGES[:3], jnp.float32) / 255
    points = jax.jit(planes.points, static_argnums=2)(KEY, pixels, 50)
    # Affine combinations of the three: as many dimensions as a plane, and nothing outside it.
    flat, own = np.asarray(points).reshape(50, -1), np.asarray(pixels).reshape(3, -1)
    weights = np.linalg.lstsq(np.c_[own, np.ones(3)].T, np.c_[flat, np.ones(50)].T, rcond=None)[0]
    np.testing.assert_allclose(own.T @ weights, flat.T, atol=1e-3)
    built = geometry.build_planes(pixels[None])
    rows = np.asarray(geometry.grid_axes(built.corners, density=2, expansion=planes.EXPANSION)[0])
    along = (flat - own[0]) @ np.asarray(built.axis1[0]).ravel()
    # Whichever image came first, its plane is the same; the extent may be seen from another side.
    assert np.abs(along).max() < 2 * np.abs(rows).max()
    assert np.abs(along).max() > 0.3 * np.abs(rows).max()


def test_the_planes_penalty_is_least_at_the_clean_networks_logits() -> None:
    points = jax.random.normal(KEY, (8, *SHAPE)) * 5
    clean = 10 * jax.random.normal(jax.random.key(1), (8, 4))
    least = planes.penalty(clean, clean, points)
    assert np.isfinite(least)
    assert least < planes.penalty(clean + jnp.array([[3.0, 0, 0, 0]]), clean, points)


def test_margins_above_the_cap_are_paid_for() -> None:
    logits = jnp.array([[100.0, 0, 20], [0, 30, 0], [0, 0, 40], [50, 0, 0]])
    # Classes 0, 1, 2, 0: margins 80, 30, 40, 50.
    found = margin.penalty(logits, jnp.array([0, 1, 2, 0]), 40.0)
    np.testing.assert_allclose(found, 3 * (1 - 0.25 * margin.SLOPE + 0 + 0.25) / 4, rtol=1e-5)


def test_sought_inputs_rise_and_start_again_and_nothing_else_moves() -> None:
    ascent = margin.ascent(step=0.1, lifetime=3, seed=0)
    params = {"pool": jnp.full((3, 2, 2, 1), 0.95), "clean": jnp.ones(2)}
    updates, state = ascent.update(jax.tree.map(jnp.ones_like, params), ascent.init(params), params)
    np.testing.assert_array_equal(updates["clean"], 0)
    moved = np.asarray(params["pool"] + updates["pool"])
    np.testing.assert_allclose(moved[1:], 1)
    assert len(np.unique(moved[0])) == 4
    assert int(state.steps) == 1


def test_kinds() -> None:
    assert kinds_of("") == ()
    assert kinds_of("planes+margin") == ("planes", "margin")
    for wrong in ("margin+planes", "everything", "exact+exact"):
        with pytest.raises(ValueError, match="planes, exact, margin"):
            kinds_of(wrong)

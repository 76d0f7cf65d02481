"""The reference is XLA's own convolution."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xray_jax.inference import winograd


def direct(images: jax.Array, kernel: np.ndarray, pads: winograd.Pads) -> jax.Array:
    return jax.lax.conv_general_dilated(
        images, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
    )


@pytest.mark.parametrize(
    ("size", "pads"), [((4, 4), ((1, 1), (1, 1))), ((7, 9), ((0, 0), (0, 0))), ((3, 13), ((2, 0), (0, 3)))]
)
def test_equals_the_direct_sum(size: tuple[int, int], pads: winograd.Pads) -> None:
    images = jax.random.normal(jax.random.key(0), (3, *size, 5))
    kernel = np.asarray(jax.random.normal(jax.random.key(1), (3, 3, 5, 7)))
    expected = direct(images, kernel, pads)
    found = jax.jit(winograd.convolve, static_argnums=2)(images, winograd.transform_kernel(kernel), pads)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(jnp.abs(expected).max()))


class Net(nn.Module):
    """Every kind of convolution that is replaced or not, with norms, activations and pooling between."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(8, (3, 3), padding=1, name="few")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True)(nn.Conv(16, (3, 3), padding=1, name="first")(x)))
        x = x + nn.gelu(nn.Conv(16, (3, 3), name="same", use_bias=False)(x))
        x = nn.Conv(16, (3, 3), 2, padding=1, name="strided")(x)
        x = nn.Conv(16, (3, 3), padding=2, kernel_dilation=2, name="dilated")(x)
        x = nn.Conv(16, (3, 3), padding=1, feature_group_count=2, name="grouped")(x)
        x = nn.Conv(16, (3, 3), padding="CIRCULAR", name="circular")(x)
        x = nn.Conv(16, (5, 5), padding=2, name="large")(x)
        x = nn.max_pool(nn.Conv(16, (3, 3), padding="VALID", name="valid")(x), (2, 2), (2, 2))
        x = nn.Conv(16, (3, 3), padding=1, name="tiny")(x)
        return nn.Dense(4)(x.reshape(len(x), -1))


def logits(variables: winograd.Variables, images: jax.Array) -> jax.Array:
    with winograd.convolutions():
        return Net().apply(variables, images)


def test_a_whole_network_gives_the_same_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 8)
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    variables = jax.jit(Net().init)(jax.random.key(1), images)
    # A bias of zeros would hide that it was left out.
    variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)
    more = winograd.with_kernels(variables)
    assert "few" not in more[winograd.COLLECTION]
    found, expected = jax.jit(logits)(more, images), jax.jit(Net().apply)(variables, images)
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(jnp.abs(expected).max()))
    # `first`, `same` and `valid` are replaced; the other seven are not what `convolve` computes, or too small for it.
    assert str(jax.make_jaxpr(logits)(more, images)).count("conv_general_dilated[") == 7
    assert winograd.with_kernels(more) is more
    jax.tree.map(np.testing.assert_array_equal, winograd.without_kernels(more), dict(variables))


def test_nothing_changes_without_channels_enough_or_outside() -> None:
    images = jnp.zeros((2, 16, 16, 3))
    variables = jax.jit(Net().init)(jax.random.key(1), images)
    assert winograd.with_kernels(variables) is variables
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), variables)
    assert winograd.with_kernels(half) is half

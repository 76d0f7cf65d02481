"""The reference is XLA's own convolution, and its derivatives."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from xray_jax.models import convolution
from xray_jax.models.convolution import Window

ONE = ((1, 1), (1, 1))


def direct(images: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        images, kernel, window.strides, window.pads, dimension_numbers=layout, feature_group_count=window.groups
    )


def fast(images: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    with convolution.faster():
        return convolution.convolve(images, kernel, window)


def products(function: Any, *arguments: Any) -> list[tuple[int, ...]]:
    """Shapes of the kernels of all convolutions that are computed."""
    found: list[tuple[int, ...]] = []

    def walk(program: Any) -> None:
        for equation in program.eqns:
            if equation.primitive.name == "conv_general_dilated":
                found.append(equation.invars[1].aval.shape)
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    walk(inner)

    walk(jax.make_jaxpr(function)(*arguments).jaxpr)
    return found


CASES = [
    # image, inputs, kernel, outputs, window, kernels of the convolutions that are computed
    ((8, 8), 3, (3, 3), 16, Window(pads=ONE), [(3, 6, 3, 64)]),
    ((8, 12), 16, (3, 3), 16, Window(pads=ONE), [(3, 4, 16, 32)]),
    ((12, 12), 1, (5, 5), 6, Window(), [(5, 8, 1, 24)]),
    ((9, 9), 4, (3, 3), 8, Window(strides=(2, 2), pads=((0, 1), (2, 1))), [(3, 11, 4, 40)]),
    ((8, 8), 6, (3, 3), 5, Window(pads=((3, 0), (4, 3))), [(3, 15, 6, 65)]),
    # Nothing to gain: outputs enough, inputs enough, no overlap, or a width that cannot be cut.
    ((8, 8), 3, (3, 3), 48, Window(pads=ONE), [(3, 3, 3, 48)]),
    ((8, 8), 24, (3, 3), 8, Window(pads=ONE), [(3, 3, 24, 8)]),
    ((8, 8), 8, (2, 2), 8, Window(strides=(2, 2)), [(2, 2, 8, 8)]),
    ((7, 7), 16, (3, 3), 4, Window(), [(3, 3, 16, 4)]),
    # Depthwise: no convolution is left.
    ((8, 9), 6, (3, 3), 6, Window(pads=ONE, groups=6), []),
    ((9, 8), 4, (5, 3), 4, Window(strides=(2, 1), pads=((2, 1), (0, 3)), groups=4), []),
    ((6, 6), 3, (3, 3), 3, Window(pads=((-1, 0), (2, 2)), groups=3), []),
    # Groups, one convolution each.
    ((8, 8), 32, (3, 3), 16, Window(pads=ONE, groups=2), [(3, 6, 16, 32)] * 2),
    ((6, 6), 4, (3, 3), 8, Window(pads=ONE, groups=4), [(3, 3, 1, 2)] * 4),
]


@pytest.mark.parametrize(("size", "inputs", "kernel", "outputs", "window", "computed"), CASES)
def test_sums_and_derivatives_are_those_of_the_direct_form(
    size: tuple[int, int],
    inputs: int,
    kernel: tuple[int, int],
    outputs: int,
    window: Window,
    computed: list[tuple[int, ...]],
) -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    images = jax.random.normal(keys[0], (2, *size, inputs))
    weights = jax.random.normal(keys[1], (*kernel, inputs // window.groups, outputs))
    assert products(functools.partial(fast, window=window), images, weights) == computed
    slopes = jax.random.normal(keys[2], jax.eval_shape(lambda i, k: direct(i, k, window), images, weights).shape)

    @functools.partial(jax.jit, static_argnums=0)
    def both(convolve: Any) -> Any:
        found, back = jax.vjp(lambda i, k: convolve(i, k, window), images, weights)
        return found, back(slopes)

    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), both(fast), both(direct))


def test_outside_and_in_other_arithmetic_nothing_changes() -> None:
    images, kernel = jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 16))
    convolve = functools.partial(convolution.convolve, window=Window(pads=ONE))
    assert products(convolve, images, kernel) == [(3, 3, 3, 16)]
    with convolution.faster(False):
        assert products(convolve, images, kernel) == [(3, 3, 3, 16)]
    with convolution.faster():
        half = (images.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
        assert products(convolve, *half) == [(3, 3, 3, 16)]


class Net(nn.Module):
    """Every kind of convolution that takes another form or not, with norms, activations and pooling between."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(16, (3, 3), padding=1, name="stem")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True)(nn.Conv(16, (3, 3), name="same", use_bias=False)(x)))
        x = nn.Conv(16, (3, 3), 2, padding="SAME", name="strided")(x)
        x = x + nn.Conv(16, (3, 3), padding=1, feature_group_count=16, name="depthwise")(x)
        x = nn.Conv(16, (3, 3), padding=2, kernel_dilation=2, name="dilated")(x)
        x = nn.Conv(16, (3, 3), padding="CIRCULAR", name="circular")(x)
        x = nn.max_pool(nn.Conv(8, (3, 3), padding="VALID", name="valid")(x), (2, 2), (2, 2))
        x = nn.Conv(32, (1, 1), name="point")(x)
        return nn.Dense(4)(x.reshape(len(x), -1))


def test_a_whole_network_gives_the_same_logits_and_derivatives() -> None:
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    variables = jax.jit(Net().init)(jax.random.key(1), images)
    # A bias of zeros would hide that it was left out.
    variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)

    def logits(variables: Any, images: jax.Array, wanted: bool) -> Any:
        with convolution.faster(wanted):
            return jnp.sum(Net().apply(variables, images))

    def run(wanted: bool) -> Any:
        return jax.jit(jax.value_and_grad(functools.partial(logits, wanted=wanted), argnums=(0, 1)))(variables, images)

    def alike(found: jax.Array, expected: jax.Array) -> None:
        np.testing.assert_allclose(found, expected, atol=1e-4 * float(jnp.abs(expected).max()))

    jax.tree.map(alike, run(True), run(False))
    widths = [shape[1] for shape in products(functools.partial(logits, wanted=True), variables, images)]
    # Of the 3x3 ones `dilated` and `circular` are as they were, and `valid`, six columns wide, is cut into two.
    assert sorted(widths) == [1, 3, 3, 4, 5, 5, 6]


def test_vmapped_weights_have_derivatives() -> None:
    images = jax.random.normal(jax.random.key(0), (2, 2, 8, 8, 3))
    kernels = jax.random.normal(jax.random.key(1), (2, 3, 3, 3, 16))

    def total(convolve: Any, images: jax.Array, kernel: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(convolve(images, kernel, Window(pads=ONE))))

    def run(convolve: Any) -> Any:
        return jax.jit(jax.vmap(jax.grad(functools.partial(total, convolve), argnums=(0, 1))))(images, kernels)

    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-3), run(fast), run(direct))

"""Flax pads what it strides over at the end ("SAME"), torch on every side: the samples say which."""

import dataclasses
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import serialization

from xray_jax import checkpoints, samples
from xray_jax.classifier import Classifier
from xray_jax.models import plain
from xray_jax.prepare import prepare

IMAGES = np.random.default_rng(1).uniform(size=(64, 28, 28, 1)).astype(np.float32)


class Strided(nn.Module):
    """Convolutions that halve the image, as in Flax's tutorials, and a linear layer.

    Attributes:
      padding: of each convolution: Flax's usual one, or torch's.
    """

    padding: str | int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in (6, 8):
            x = nn.relu(nn.Conv(width, (3, 3), (2, 2), self.padding)(x))
        return nn.Dense(10)(x.reshape(len(x), -1))


@pytest.mark.parametrize("padding", ["SAME", 1])
def test_the_samples_say_where_the_zeros_lie(tmp_path: Path, padding: str | int) -> None:
    network = Strided(padding)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 28, 28, 1), np.float32))
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)
    variables["params"]["Dense_0"]["bias"] -= np.asarray(network.apply(variables, IMAGES)).mean(0)
    wanted = np.asarray(network.apply(variables, IMAGES))
    path = tmp_path / "strided.msgpack"
    path.write_bytes(serialization.to_bytes(variables))

    model = dataclasses.replace(checkpoints.load(path), preprocess_source="given")
    model = prepare(model, samples.from_arrays(IMAGES, wanted.argmax(1))).model
    assert isinstance(model, Classifier)
    assert isinstance(model.network, plain.PlainNet)
    assert model.network.same is (padding == "SAME")
    got = np.asarray(model.network.apply(model.variables, IMAGES))
    assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max()
    where = "at the end, as Flax has them" if padding == "SAME" else "on every side"
    assert any(f"strides 2+2, their zeros {where}" in note for note in model.notes)


def test_padding_that_no_stride_follows_is_one_question_less() -> None:
    network = plain.small((4, 6), 3, (16,))(num_classes=10)
    spatial, *_ = plain.variants(network, IMAGES.shape[1:], IMAGES.shape[1:])
    assert isinstance(spatial[0], plain.PlainNet)
    for each in spatial:
        assert isinstance(each, plain.PlainNet)
        assert each.same is False or set(each.stride) != {1}
    assert len(set(spatial)) == len(spatial)

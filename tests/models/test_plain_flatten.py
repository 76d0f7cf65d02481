"""Flax flattens channels last, torch channels first: which numbers of the first linear layer belong to which pixel."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import serialization

from xray_jax import checkpoints, samples
from xray_jax.checkpoints import convert
from xray_jax.classifier import Classifier
from xray_jax.inference.labels import label_images
from xray_jax.models import layers, plain
from xray_jax.prepare import prepare
from xray_jax.preprocess import Preprocess

SHAPE = (28, 28, 1)
IMAGES = np.random.default_rng(1).uniform(size=(64, *SHAPE)).astype(np.float32)


class FlaxExample(nn.Module):
    """The MNIST network of Flax's examples, smaller."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = layers.average_pool(nn.relu(nn.Conv(4, (3, 3))(x)), (2, 2), (2, 2))
        x = layers.average_pool(nn.relu(nn.Conv(6, (3, 3))(x)), (2, 2), (2, 2))
        x = nn.relu(nn.Dense(16)(x.reshape(len(x), -1)))
        return nn.Dense(10)(x)


def _initialised(network: nn.Module, last: str) -> Any:
    """Random weights with which all classes are labels."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *SHAPE), np.float32))
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)
    variables["params"][last]["bias"] -= np.asarray(network.apply(variables, IMAGES)).mean(0)
    return variables


def _opened(path: Path, **flags: Any) -> Classifier:
    model = checkpoints.load(path, **flags)
    assert isinstance(model, Classifier)
    return model


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A file as Flax writes it, and the logits of what it was saved from."""
    variables = _initialised(FlaxExample(), "Dense_1")
    path = tmp_path_factory.mktemp("flax") / "mnist.msgpack"
    path.write_bytes(serialization.to_bytes(variables))
    return path, np.asarray(FlaxExample().apply(variables, IMAGES))


def _assert_logits(model: Classifier, wanted: np.ndarray) -> None:
    got = np.asarray(model.network.apply(model.variables, IMAGES))
    assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_networks_of_flax_flatten_channels_last(example: tuple[Path, np.ndarray]) -> None:
    path, wanted = example
    _assert_logits(_opened(path, architecture="plain:pool=avg"), wanted)
    model = _opened(path)
    assert isinstance(model.network, plain.PlainNet)
    assert any("flattened channels last" in note for note in model.notes)
    found = prepare(
        dataclasses.replace(model, preprocess_source="given"), samples.from_arrays(IMAGES, wanted.argmax(1))
    )
    assert isinstance(found.model, Classifier)
    _assert_logits(found.model, wanted)


@pytest.mark.parametrize("kind", convert.FORMATS)
def test_converting_keeps_the_order(example: tuple[Path, np.ndarray], tmp_path: Path, kind: str) -> None:
    path, wanted = example
    convert.convert(path, tmp_path / "out", kind=kind, architecture="plain:pool=avg", preprocess="0-1")
    _assert_logits(_opened(tmp_path / "out"), wanted)
    # What else is open stays so.
    convert.convert(path, tmp_path / "open", kind=kind)
    model = _opened(tmp_path / "open")
    assert model.network == _opened(path).network
    assert model.variants is not None


@pytest.mark.parametrize("name", ["plain:padding=1+1:stride=1+1:pool_after=1+2:pool=avg", "badnets-cnn", "plain"])
def test_networks_of_this_package_flatten_as_before(tmp_path: Path, name: str) -> None:
    """Their files may not name the order: those that were written before there was a choice."""
    network = plain.small((16, 32), 5, (512,), padding=0, pool="avg")()
    variables = _initialised(network, "fc2")
    checkpoints.save_msgpack(tmp_path / "own.msgpack", variables, {"architecture": name})
    assert _opened(tmp_path / "own.msgpack").network.flatten == "channels_first"
    (tmp_path / "foreign.msgpack").write_bytes(serialization.to_bytes(variables))
    assert _opened(tmp_path / "foreign.msgpack").network.flatten == "channels_last"
    # A preset is taken as it is, and so are options.
    assert _opened(tmp_path / "foreign.msgpack", architecture="badnets-cnn").network == network
    given = _opened(tmp_path / "foreign.msgpack", architecture="plain:flatten=channels_first")
    assert given.network.flatten == "channels_first"


def test_the_samples_say_in_which_order() -> None:
    network = plain.small((4, 6), 3, (16,))(num_classes=10)
    other = network.clone(flatten="channels_last")
    axes = plain.variants(network, SHAPE, SHAPE)
    assert (network, other) in axes
    # One pixel has no order.
    assert all(other not in axis for axis in plain.variants(network.clone(average=1), SHAPE, SHAPE))
    variables = _initialised(network, "fc2")
    known = [Classifier(each, variables, 10, SHAPE, "", Preprocess()) for each in (network, other)]
    assert np.mean(label_images(known[0], IMAGES) == label_images(known[1], IMAGES)) < 0.5

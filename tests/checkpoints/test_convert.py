"""Whatever opens can be written as a native checkpoint, and scans again without flags."""

from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest

from tests import commands, factory
from xray_jax import checkpoints
from xray_jax.checkpoints import CheckpointError, convert
from xray_jax.classifier import Classifier
from xray_jax.models import build, published
from xray_jax.models.vgg import VGG
from xray_jax.models.vit import VisionTransformer
from xray_jax.preprocess import parse


@pytest.mark.parametrize("kind", convert.FORMATS)
def test_converted_scans_without_flags(kind, tmp_path):
    arrays = published.to_tensors(factory.tiny_variables())
    np.savez(tmp_path / "a.npz", **{name: array.astype(np.float16) for name, array in arrays.items()})
    convert.convert(tmp_path / "a.npz", tmp_path / "out", kind=kind, preprocess="gtsrb")
    model = checkpoints.load(tmp_path / "out")
    assert (model.network, model.preprocess) == (factory.TINY, parse("gtsrb"))
    expected = jax.tree.map(lambda leaf: leaf.astype(np.float16).astype(np.float32), factory.tiny_variables())
    jax.tree.map(np.testing.assert_array_equal, model.variables, expected)


def test_safetensors_have_published_names(tmp_path):
    from safetensors.numpy import load_file

    convert.convert(factory.save_tiny(tmp_path / "a"), tmp_path / "b.safetensors")
    found = load_file(tmp_path / "b.safetensors")
    expected = published.to_tensors(factory.tiny_variables())
    assert found.keys() == expected.keys()
    np.testing.assert_array_equal(found["layer1.0.conv1.weight"], expected["layer1.0.conv1.weight"])


def test_nothing_is_replaced_by_accident(tmp_path):
    source = factory.save_tiny(tmp_path / "a.safetensors")
    before = source.read_bytes()
    for options, message in (({}, "exists"), ({"overwrite": True}, "its own source")):
        with pytest.raises(CheckpointError, match=message):
            convert.convert(source, source, **options)
    assert source.read_bytes() == before
    convert.convert(source, tmp_path / "b")
    convert.convert(source, tmp_path / "b", kind="orbax", overwrite=True)
    assert checkpoints.format_of(tmp_path / "b").NAME == "orbax"


def _saved(path: Path, network: nn.Module, shape: tuple[int, int, int]) -> Path:
    generator = np.random.default_rng(0)
    shapes = published.expected_shapes(network, shape)
    np.savez(path, **{key: generator.normal(size=leaf).astype(np.float32) for key, leaf in shapes.items()})
    return path


VIT = VisionTransformer(num_classes=5, depth=2, width=128, hidden=64, heads=8, patch=8)
ELU = VGG(num_classes=5, plan=(4, "M", 6, 6, "M", 8, "M"), hidden=(), activation="elu")
MINI = VisionTransformer(num_classes=5, depth=4, width=64, hidden=128, heads=4, patch=8)


@pytest.mark.parametrize(
    ("network", "asked"),
    [
        (VIT, "vit:heads=8"),
        (ELU, "vgg:activation=elu"),
        (MINI, "vit-mini-8:heads=4"),
    ],
)
def test_options_of_the_architecture_are_stored(network: nn.Module, asked: str, tmp_path: Path) -> None:
    source = _saved(tmp_path / "a.npz", network, (32, 32, 3))
    convert.convert(source, tmp_path / "b", architecture=asked)
    assert checkpoints.load(tmp_path / "b").network == network
    assert checkpoints.load(source).network != network


def test_what_does_not_read_back_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = _saved(tmp_path / "a.npz", VIT, (32, 32, 3)), factory.save_tiny(tmp_path / "out.safetensors")
    before = out.read_bytes()
    cases = [*((kind, "vit:heads=4", "does not read back") for kind in convert.FORMATS)]
    for kind, name, message in (*cases, (convert.FORMATS[0], "resnet18:stem=odd", "does not")):
        monkeypatch.setattr(convert, "_name", lambda _, name=name: name)
        with pytest.raises(CheckpointError, match=message):
            convert.convert(source, out, kind=kind, overwrite=True, architecture="vit:heads=8")
    assert out.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.npz", "out.safetensors"]


@pytest.mark.parametrize("kind", convert.FORMATS)
def test_what_was_assumed_stays_open(kind: str, tmp_path: Path) -> None:
    source = _saved(tmp_path / "a.npz", build("lenet5", 10), (28, 28, 1))
    before = checkpoints.load(source)
    after = convert.convert(source, tmp_path / "b", kind=kind)
    assert isinstance(before, Classifier)
    assert before.variants is not None
    assert after.variants is not None
    assert (after.network, after.preprocess_source) == (before.network, "assumed")
    questions = before.variants.alternatives(before.network, before.input_shape)
    assert len(questions) > 1
    assert after.variants.alternatives(after.network, after.input_shape) == questions
    # What the user says is known.
    told = convert.convert(
        source, tmp_path / "c", kind=kind, architecture="plain:activation=tanh", preprocess="mnist-standard"
    )
    assert told.preprocess_source == "file"
    assert told.variants is not None
    assert told.variants.alternatives(told.network, told.input_shape)
    for axis in told.variants.alternatives(told.network, told.input_shape):
        assert {vars(network)["activation"] for network in axis} == {"tanh"}


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--checkpoint=a.safetensors", "--out=b.safetensors"], 0, "5 classes, images 8x8x3"),
        (["--checkpoint=missing", "--out=b"], 2, "missing: cannot be read"),
        (["--checkpoint=a.safetensors"], 4, "--out"),
        (["--checkpoint=a.safetensors", "--out=b", "--format=pickle"], 4, "pickle"),
    ],
)
def test_command(flags, code, message, tmp_path):
    factory.save_tiny(tmp_path / "a.safetensors")
    found = commands.finished("xray-convert", *flags, cwd=tmp_path)
    assert found.returncode == code, found.stderr
    assert message in found.stderr
    assert found.stdout == ""

"""Whatever opens can be written as a native checkpoint, and scans again without flags."""

import jax
import numpy as np
import pytest

from tests import commands, factory
from xray_jax import checkpoints
from xray_jax.checkpoints import CheckpointError, convert
from xray_jax.models import published
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

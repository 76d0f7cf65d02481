"""Swin transformers of version 2, against what their publishers' packages compute."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.oracles import published
from tests.oracles.compare import assert_published, renamed
from xray_jax.checkpoints.contents import CONFIG, CheckpointError, Tensors
from xray_jax.checkpoints.loading import load
from xray_jax.checkpoints.recognition import recognise
from xray_jax.classifier import Classifier
from xray_jax.models.swinv2 import SwinTransformerV2

SIZES = "stage_sizes=(2, 2), width=16, heads=(2, 4)"
HUGGING_FACE = {"window_size": 4, "pretrained_window_sizes": [6, 2]}


def test_torchvision() -> None:
    """Files with the tables of distances, which show the windows."""
    found = assert_published("swin_v2", f"swin_v2, {SIZES} (naming: torchvision)")
    assert found.input_shape == (64, 64, 3)
    assert not any("windows" in note for note in found.notes)


def test_timm() -> None:
    """The second stage is smaller than a window, which then covers it."""
    found = assert_published("swin_v2-timm", f"swin_v2, {SIZES}, bias=q_bias, table=False (naming: timm)")
    assert any("windows of 8 patches" in note for note in found.notes)


def test_hugging_face() -> None:
    """The config says the windows, and those of the training before."""
    found = assert_published("swin_v2-transformers", "swin_v2:windows=4:pretrained=6+2", config=HUGGING_FACE)
    assert "(naming: Hugging Face)" in found.description
    assert any("windows of 4 patches a side, distances scaled by 6+2" in note for note in found.notes)


def test_a_config_with_a_number_for_each_stage(tmp_path: Path) -> None:
    save_file(_weights("swin_v2-transformers").arrays, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(HUGGING_FACE))
    model = load(tmp_path)
    assert isinstance(model, Classifier)
    assert isinstance(model.network, SwinTransformerV2)
    assert (model.network.windows, model.network.pretrained) == ((4,), (6, 2))


def test_what_weights_do_not_show_is_asked_of_the_samples() -> None:
    found = recognise(_weights("swin_v2-timm"))
    assert found.variants is not None
    ((first, second),) = found.variants.alternatives(found.module, found.input_shape)
    assert (first.windows, second.windows) == ((8,), (16,))
    stored = recognise(_weights("swin_v2"))
    assert stored.variants is not None
    assert stored.variants.alternatives(stored.module, stored.input_shape) == ()


def test_files_of_the_authors() -> None:
    """With tables, a window each stage, and what halves the size named after the stage before it."""
    renames = ((r"layers\.1\.downsample", "layers.0.downsample"), (r"^head\.fc\.", "head."))
    arrays = {renamed(key, renames): array for key, array in _weights("swin_v2-timm").arrays.items()}
    for stage, side in enumerate((8, 6)):
        for block in range(2):
            table = f"layers.{stage}.blocks.{block}.attn.relative_coords_table"
            arrays[table] = np.zeros((1, 2 * side - 1, 2 * side - 1, 2), np.float32)
    found = recognise(Tensors(arrays))
    assert "(naming: the authors')" in found.description
    assert isinstance(found.module, SwinTransformerV2)
    assert (found.module.windows, found.input_shape) == ((8, 6), (48, 48, 3))


@pytest.mark.parametrize("config", [{"hidden_act": "relu"}, {"use_absolute_embeddings": True}])
def test_other_networks_of_the_same_weights_are_refused(config: dict[str, object]) -> None:
    tensors = _weights("swin_v2-transformers")
    with pytest.raises(CheckpointError, match=f"weights are those of a swin_v2, but it says {next(iter(config))}"):
        recognise(Tensors(tensors.arrays, metadata={CONFIG: config}))


def _weights(network: str) -> Tensors:
    shapes = published.read(network)["shapes"]
    return Tensors({key: published.weights(key, tuple(shape)) for key, shape in shapes.items()})

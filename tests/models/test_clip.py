"""Image towers of CLIP and SigLIP with a classifier, against what transformers computes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.oracles import published
from tests.oracles.compare import assert_published
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.loading import load
from xray_jax.checkpoints.recognition import Recognised, recognise
from xray_jax.classifier import Classifier
from xray_jax.models.clip import ARCHITECTURE, ImageTower, settings


@pytest.mark.parametrize(
    ("network", "kind", "unused"), [("clip", "CLIP", "post_layernorm"), ("siglip", "SigLIP", "head")]
)
def test_published(network: str, kind: str, unused: str) -> None:
    """The pooling head of SigLIP and the last norm of CLIP are there, and classify nothing."""
    found = assert_published(network, "clip, ")
    assert f"(naming: Hugging Face, {kind})" in found.description
    assert found.input_shape == (32, 32, 3)
    assert any(f"vision_model.{unused}" in note for note in found.notes)


@pytest.mark.parametrize(
    ("network", "expected"), [("clip", (1e-5, "quick_gelu")), ("siglip", (1e-6, "gelu_pytorch_tanh"))]
)
def test_what_is_usual_of_each_kind(network: str, expected: tuple[float, str]) -> None:
    found = _recognised(network)
    assert isinstance(found.module, ImageTower)
    assert settings(found.module) == expected
    assert any(f"activation {expected[1]}" in note for note in found.notes)


def test_a_config_says_what_weights_do_not_show(tmp_path: Path) -> None:
    """Beside what it says of the text."""
    said = {"hidden_act": "gelu", "layer_norm_eps": 1e-4, "num_attention_heads": 4}
    found = _saved(tmp_path, {"vision_config": said, "text_config": {"hidden_act": "relu"}, "hidden_act": "silu"})
    assert (*settings(found), found.heads) == (1e-4, "gelu", 4)
    with pytest.raises(CheckpointError, match="activation mish: no clip here has that"):
        _saved(tmp_path, {"vision_config": {"hidden_act": "mish"}})
    # What is no config inside of one says nothing.
    assert _saved(tmp_path, {"vision_config": 3}) == _recognised("clip").module


def test_what_few_people_train() -> None:
    found = _recognised("clip")
    assert ARCHITECTURE.unusual is not None
    activations, heads = ARCHITECTURE.unusual(found.module)
    names = [settings(each)[1] for each in activations if isinstance(each, ImageTower)]
    assert names == ["quick_gelu", "gelu"]
    assert {vars(each)["heads"] for each in heads} == {1, 2, 4, 8, 16}


def _arrays(network: str) -> dict[str, np.ndarray]:
    return {key: published.weights(key, tuple(shape)) for key, shape in published.read(network)["shapes"].items()}


def _recognised(network: str) -> Recognised:
    return recognise(Tensors(_arrays(network)))


def _saved(folder: Path, config: dict[str, Any]) -> ImageTower:
    save_file(_arrays("clip"), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    model = load(folder)
    assert isinstance(model, Classifier)
    assert isinstance(model.network, ImageTower)
    return model.network

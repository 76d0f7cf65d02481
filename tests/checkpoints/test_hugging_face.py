"""A config.json beside the weights says what they do not show: heads, activation, epsilon, what the head reads."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from tests.oracles.compare import randomised, torch_logits
from tests.oracles.transformers import HuggingFaceViT, TimmViT
from xray_jax import checkpoints
from xray_jax.checkpoints import CheckpointError, convert
from xray_jax.classifier import Classifier

SIZES = {"side": 32, "patch": 8, "width": 128, "hidden": 96, "depth": 2}
CONFIG = {"architectures": ["ViTForImageClassification"], "image_size": 32, "num_attention_heads": 2}
TIMM = {"architecture": "vit_of_ours", "num_classes": 7, "global_pool": "token"}


def _folder(path: Path, network: nn.Module, config: dict[str, Any]) -> Path:
    path.mkdir()
    save_file(randomised(network).state_dict(), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    return path


def _opened(path: Path, **options: Any) -> Classifier:
    model = checkpoints.load(path, **options)
    assert isinstance(model, Classifier)
    return model


def _difference(network: nn.Module, model: Classifier) -> float:
    """Largest difference of two images' logits, as a share of the largest."""
    images = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)
    wanted = torch_logits(network, images)
    found = np.asarray(jax.jit(model.network.apply)(model.variables, images))
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize(
    ("network", "config"),
    [
        (HuggingFaceViT(**SIZES, heads=4), {"num_attention_heads": 4, "hidden_act": "gelu"}),
        (HuggingFaceViT(**SIZES, act=F.relu), {"hidden_act": "relu"}),
        (HuggingFaceViT(**SIZES, epsilon=0.1), {"layer_norm_eps": 0.1}),
        (HuggingFaceViT(**{**SIZES, "width": 48}, heads=4), {"num_attention_heads": 4}),
        (TimmViT(**SIZES, heads=8), {**TIMM, "model_args": {"num_heads": 8}}),
        (
            TimmViT(**SIZES, act=nn.ReLU(), pool="avg"),
            {**TIMM, "global_pool": "avg", "model_args": {"act_layer": "relu"}},
        ),
    ],
)
def test_what_config_json_says_is_computed(network: nn.Module, config: dict[str, Any], tmp_path: Path) -> None:
    stated = config if "architecture" in config else {**CONFIG, **config}
    model = _opened(_folder(tmp_path / "a", network, stated))
    assert _difference(network, model) < 1e-4
    assert any(note.startswith("config.json says ") for note in model.notes)
    # It is known, so a converted file has it too.
    convert.convert(tmp_path / "a", tmp_path / "b")
    assert _opened(tmp_path / "b").network == model.network
    # Weights alone do not show it.
    (tmp_path / "a" / "config.json").unlink()
    assert _difference(network, _opened(tmp_path / "a")) > 1e-3


def test_whoever_scans_knows_better(tmp_path: Path) -> None:
    network = HuggingFaceViT(**SIZES, heads=4)
    folder = _folder(tmp_path / "a", network, CONFIG)
    assert _difference(network, _opened(folder, architecture="vit:heads=4")) < 1e-4


def test_usual_networks_keep_their_names(tmp_path: Path) -> None:
    config = {**CONFIG, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
    model = _opened(_folder(tmp_path / "a", HuggingFaceViT(**SIZES), config))
    (tmp_path / "a" / "config.json").unlink()
    assert model.network == _opened(tmp_path / "a").network


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_act": "mish"}, "activation mish: no vit here has that"),
        ({"num_attention_heads": 5}, "heads 5: no vit"),
        ({"num_attention_heads": 0}, "heads 0: no vit"),
        ({"num_attention_heads": "many"}, "heads"),
    ],
)
def test_what_no_network_here_has_is_refused(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load(_folder(tmp_path / "a", HuggingFaceViT(**SIZES), {**CONFIG, **config}))


@pytest.mark.parametrize("config", [{}, {"model_args": 3}, {"hidden_act": ["relu"], "num_attention_heads": None}])
def test_odd_values_say_nothing(config: dict[str, Any], tmp_path: Path) -> None:
    network = HuggingFaceViT(**SIZES)
    assert _difference(network, _opened(_folder(tmp_path / "a", network, config))) < 1e-4

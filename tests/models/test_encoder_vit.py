"""Hand-written vision transformers around `nn.TransformerEncoder`."""

import pytest
import torch
from torch import nn

from tests.oracles.compare import assert_same_logits, state_dict
from xray_jax.models.encoder_vit import infer, variants

SHAPE = (8, 8, 3)


class Common(nn.Module):
    """Torch's defaults: norms last, ReLU; a convolution, a class token, names of tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 16, 4, 4)
        self.cls_token, self.pos_embed = nn.Parameter(torch.zeros(1, 1, 16)), nn.Parameter(torch.zeros(1, 5, 16))
        layer = nn.TransformerEncoderLayer(16, 8, 24, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.mlp_head = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.mlp_head(self.transformer(x)[:, 0])


class Other(nn.Module):
    """Everything otherwise: norms first, GELU, linear patches, an embedding layer of positions, the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.to_patch, self.positions = nn.Linear(48, 12), nn.Embedding(4, 12)
        layer = nn.TransformerEncoderLayer(12, 3, 20, activation="gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 1, norm=nn.LayerNorm(12), enable_nested_tensor=False)
        self.norm, self.out = nn.LayerNorm(12), nn.Linear(12, 7, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 4, 5, 1).reshape(len(x), 4, 48)
        x = self.to_patch(patches) + self.positions.weight
        return self.out(self.norm(self.blocks(x)).mean(1))


def test_torchs_defaults() -> None:
    found = assert_same_logits(Common(), SHAPE, prefix="module.", expected="encoder-vit, depth=2, width=16")
    assert found.input_shape == SHAPE
    assert any("8 attention heads, norms last, RELU, the head reads the class token" in note for note in found.notes)


def test_all_the_other_answers_are_among_the_variants() -> None:
    asked = "encoder-vit:norm_first=true:activation=gelu:heads=3:order=pixels"
    found = assert_same_logits(Other(), SHAPE, architecture=asked)
    plain = found.module.clone(norm_first=False, activation="relu", heads=4, order="channels")
    orders, places, heads, activations = variants(plain, SHAPE, SHAPE)
    # Under a wrong one of the two orders the other does not show.
    assert orders[0] == plain
    assert plain.clone(norm_first=True, order="pixels") in orders
    assert plain.clone(norm_place="pooled") in places
    assert plain.clone(heads=3) in heads
    assert plain.clone(activation="gelu") in activations


@pytest.mark.parametrize("gone", ["patch_embed", "mlp_head.1"])
def test_half_a_network_is_refused(gone: str) -> None:
    shapes = {key: array.shape for key, array in state_dict(Common()).items() if not key.startswith(gone)}
    assert infer(shapes) is None

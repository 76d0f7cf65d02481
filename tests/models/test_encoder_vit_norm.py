"""Hand-written ViTs around `nn.TransformerEncoder` whose own norm lies elsewhere than behind the encoder."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from tests.oracles.compare import assert_same_logits, randomised, state_dict, torch_logits
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.loading import classifier
from xray_jax.models.encoder_vit import EncoderViT, note, unusual, variants
from xray_jax.prepare.variant import choose_variant

SHAPE = (12, 12, 3)
CASES = [
    (False, "encoder", "token"),
    (False, "embedding", "token"),
    (False, "positions", "token"),
    (True, "encoder", "patches"),
    (True, "pooled", "mean"),
    (True, "embedding", "patches"),
    (True, "positions", "mean"),
    (True, "pooled", "patches"),
    (False, "pooled", "patches"),
]
"""(norms first, place of the norm beside the encoder, what the head reads)"""


class Placed(nn.Module):
    """The norm is called at `place`, and the head reads `pool`; nothing of it shows in the weights."""

    def __init__(self, first: bool, place: str, pool: str) -> None:
        super().__init__()
        self.place, self.pool = place, pool
        self.patch_embed, self.norm = nn.Conv2d(3, 16, 4, 4), nn.LayerNorm(16)
        self.cls_token, self.pos_embed = nn.Parameter(torch.zeros(1, 1, 16)), nn.Parameter(torch.zeros(1, 10, 16))
        layer = nn.TransformerEncoderLayer(16, 8, 24, batch_first=True, norm_first=first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        if self.place == "embedding":
            x = self.norm(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        if self.place == "positions":
            x = self.norm(x)
        x = self.encoder(x)
        if self.place == "encoder":
            x = self.norm(x)
        x = {"token": x[:, 0], "mean": x.mean(1), "patches": x[:, 1:].mean(1)}[self.pool]
        return self.head(self.norm(x) if self.place == "pooled" else x)


@pytest.mark.parametrize(("first", "place", "pool"), CASES)
def test_logits_with_the_norm_in_each_place(first: bool, place: str, pool: str) -> None:
    asked = f"encoder-vit:norm_first={first}:norm_place={place}:pool={pool}"
    found = assert_same_logits(Placed(first, place, pool), SHAPE, architecture=asked)
    assert found.module == EncoderViT(
        7, 2, 16, 24, encoder="encoder", tokens=10, norm="norm", norm_first=first, norm_place=place, pool=pool
    )


def labelled(network: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Images, and the labels that a torch network gives them: of all classes, its logits are made alike for that."""
    images = np.random.default_rng(0).normal(size=(200, *SHAPE)).astype(np.float32)
    logits = torch_logits(network, images)
    head = network.get_submodule("head")
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        scale, mean = torch.from_numpy(logits.std(0)), torch.from_numpy(logits.mean(0))
        head.weight.copy_(head.weight / scale[:, None])
        head.bias.copy_((head.bias - mean) / scale)
    labels = torch_logits(network, images).argmax(1)
    assert len(np.unique(labels)) == 7
    return images, labels


def counted(variables: Any, images: np.ndarray, labels: np.ndarray) -> tuple[Callable[[Any], int], dict[Any, int]]:
    """(errors of a network, kept in the dictionary by network)"""
    known: dict[Any, int] = {}
    quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

    def errors(module: Any) -> int:
        if module not in known:
            traced = jax.jit(module.apply).lower(variables, jnp.asarray(images))
            logits = traced.compile(compiler_options=quick)(variables, jnp.asarray(images))
            known[module] = int(np.sum(np.argmax(logits, 1) != labels))
        return known[module]

    return errors, known


@pytest.mark.parametrize(("first", "place", "pool"), CASES[:5])
def test_samples_show_order_place_and_pooling_together(first: bool, place: str, pool: str) -> None:
    network = randomised(Placed(first, place, pool))
    images, labels = labelled(network)
    model = classifier(Tensors(state_dict(network)), None, None, None, SHAPE)
    assert (model.network.norm_first, model.network.norm_place, model.network.pool) == CASES[0]
    errors, known = counted(model.variables, images, labels)
    best = choose_variant(model, errors)
    if (first, place, pool) == CASES[0]:
        # Each costs a compilation: the network, the other order, two readings, two places, four heads, GELU.
        assert len(known) == 11
    if errors(best) > 0.4 * len(labels):
        best = choose_variant(model, errors, unusual=True)
    assert len(known) <= 45
    assert best == model.network.clone(norm_first=first, norm_place=place, pool=pool)
    assert errors(best) == 0


def test_places_and_readings_that_are_asked() -> None:
    """What cannot be, or is the same as another one, is no question."""

    def asked(module: EncoderViT) -> list[set[tuple[str, str]]]:
        axes = variants(module, SHAPE, SHAPE)
        found = [{(vars(each)["norm_place"], vars(each)["pool"]) for each in axis} for axis in axes]
        return [axis for axis in found if len(axis) > 1]

    token, patches = EncoderViT(norm="norm"), EncoderViT(norm="norm", pool="patches")
    everywhere = {"encoder", "pooled", "embedding", "positions"}
    assert asked(token) == [
        {("encoder", pool) for pool in ("token", "mean", "patches")},
        # Behind the pooling a class token is as it was behind the encoder.
        {(place, "token") for place in everywhere - {"pooled"}},
    ]
    assert asked(patches)[1] == {(place, "patches") for place in everywhere}
    assert asked(token.clone(norm="")) == asked(token)[:1]
    assert asked(token.clone(norm="", token="", pool="mean")) == []
    assert asked(token.clone(token="", pool="mean")) == [{(place, "mean") for place in everywhere}]
    assert asked(token.clone(position=""))[1] == {("encoder", "token"), ("embedding", "token")}


def test_other_orders_are_tried_with_readings_and_heads_where_nothing_else_labels_the_samples() -> None:
    usual = EncoderViT(norm="norm")
    readings, heads = unusual(usual)
    assert readings[0] == heads[0] == usual
    assert usual.clone(norm_first=True, norm_place="pooled", pool="mean") in readings
    assert usual.clone(norm_place="positions", pool="mean") in readings
    assert usual.clone(norm_first=True, heads=1) in heads
    assert len({*readings, *heads}) == 22


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "the head reads the class token, fc.norm behind the encoder"),
        ({"norm_place": "positions"}, "the class token, fc.norm behind the positions"),
        (
            {"norm_place": "embedding", "pool": "mean"},
            "mean of the tokens, fc.norm behind the embedding of the patches",
        ),
        (
            {"norm_place": "pooled", "pool": "patches"},
            "mean of the tokens but the class token, fc.norm behind the pooling",
        ),
        ({"norm": ""}, "the head reads the class token"),
    ],
)
def test_the_note_says_what_is_read_and_where_the_norm_lies(fields: dict[str, str], said: str) -> None:
    assert note(EncoderViT(norm="fc.norm").clone(**fields)).endswith(said)

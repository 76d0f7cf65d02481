"""Vision transformers under three publishers' names, and BackdoorBench's resize in front of one."""

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    batch, tokens, width = q.shape
    q, k, v = (t.view(batch, tokens, heads, width // heads).transpose(1, 2) for t in (q, k, v))
    weights = (q @ k.transpose(-2, -1) / (width // heads) ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).reshape(batch, tokens, width)


class TorchvisionLayer(nn.Module):
    def __init__(self, width: int, hidden: int, old: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.self_attention = nn.MultiheadAttention(width, width // 64, batch_first=True)
        names = ("linear_1", "act", "drop", "linear_2") if old else "0123"
        parts = (nn.Linear(width, hidden), nn.GELU(), nn.Dropout(), nn.Linear(hidden, width))
        self.mlp = nn.Sequential(OrderedDict(zip(names, parts, strict=True)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class TorchvisionViT(nn.Module):
    def __init__(self, side: int, patch: int, width: int, hidden: int, depth: int, old: bool = False) -> None:
        super().__init__()
        self.conv_proj = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.zeros(1, (side // patch) ** 2 + 1, width))
        rows = OrderedDict((f"encoder_layer_{i}", TorchvisionLayer(width, hidden, old)) for i in range(depth))
        self.encoder.layers = nn.Sequential(rows)
        self.encoder.ln = nn.LayerNorm(width, 1e-6)
        self.heads = nn.Sequential(OrderedDict(head=nn.Linear(width, 7)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.encoder.pos_embedding
        return self.heads(self.encoder.ln(self.encoder.layers(x))[:, 0])


class Resize(nn.Module):
    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False)


class TimmAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(attend(*self.qkv(x).chunk(3, -1), heads=self.heads))


class TimmLayer(nn.Module):
    def __init__(self, width: int, hidden: int, heads: int, act: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn = TimmAttention(width, heads)
        self.mlp = nn.Sequential(OrderedDict(fc1=nn.Linear(width, hidden), act=act, fc2=nn.Linear(hidden, width)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TimmViT(nn.Module):
    """`pool` is timm's `global_pool`; "avg" with `fc_norm=False`."""

    def __init__(
        self,
        side: int,
        patch: int,
        width: int,
        hidden: int,
        depth: int,
        heads: int = 0,
        act: nn.Module | None = None,
        pool: str = "token",
    ) -> None:
        super().__init__()
        self.pool = pool
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, (side // patch) ** 2 + 1, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        block = (width, hidden, heads or width // 64, act or nn.GELU())
        self.blocks = nn.Sequential(*(TimmLayer(*block) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width, 1e-6), nn.Linear(width, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        x = self.norm(self.blocks(x))
        return self.head(x[:, 0] if self.pool == "token" else x[:, 1:].mean(1))


def tree(**children: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict(children)


class HuggingFaceViT(nn.Module):
    def __init__(
        self,
        side: int,
        patch: int,
        width: int,
        hidden: int,
        depth: int,
        heads: int = 0,
        act: Callable[[torch.Tensor], torch.Tensor] = F.gelu,
        epsilon: float = 1e-12,
    ) -> None:
        super().__init__()
        self.heads, self.act = heads or width // 64, act
        embeddings = tree(patch_embeddings=tree(projection=nn.Conv2d(3, width, patch, patch)))
        embeddings.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        embeddings.position_embeddings = nn.Parameter(torch.zeros(1, (side // patch) ** 2 + 1, width))
        layer = nn.ModuleList(
            tree(
                attention=tree(
                    attention=tree(**{name: nn.Linear(width, width) for name in ("query", "key", "value")}),
                    output=tree(dense=nn.Linear(width, width)),
                ),
                intermediate=tree(dense=nn.Linear(width, hidden)),
                output=tree(dense=nn.Linear(hidden, width)),
                layernorm_before=nn.LayerNorm(width, epsilon),
                layernorm_after=nn.LayerNorm(width, epsilon),
            )
            for _ in range(depth)
        )
        norm = nn.LayerNorm(width, epsilon)
        self.vit = tree(embeddings=embeddings, encoder=tree(layer=layer), layernorm=norm)
        self.classifier = nn.Linear(width, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        embeddings = self.vit["embeddings"]
        x = embeddings["patch_embeddings"]["projection"](x).flatten(2).transpose(1, 2)
        x = torch.cat([embeddings.cls_token.expand(len(x), -1, -1), x], 1) + embeddings.position_embeddings
        for layer in self.vit["encoder"]["layer"]:
            y, parts = layer["layernorm_before"](x), layer["attention"]["attention"]
            y = attend(parts["query"](y), parts["key"](y), parts["value"](y), self.heads)
            x = x + layer["attention"]["output"]["dense"](y)
            y = self.act(layer["intermediate"]["dense"](layer["layernorm_after"](x)))
            x = x + layer["output"]["dense"](y)
        return self.classifier(self.vit["layernorm"](x)[:, 0])

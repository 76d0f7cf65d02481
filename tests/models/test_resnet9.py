"""ResNet-9 under the names of its publishers, and what its weights leave open."""

import pytest
import torch
from torch import nn

from tests.oracles.compare import assert_recognised, assert_same_logits
from xray_jax.models.resnet9 import ARCHITECTURE, ResNet9, note


class Layer(nn.Module):
    """Convolution, norm, activation and perhaps a pool, under given names."""

    def __init__(
        self, inside: int, outside: int, *, kernel: int = 3, stride: int = 1, padding: int = 1, bias: bool = True,
        pool: nn.Module | None = None, activation: nn.Module | None = None, names: tuple[str, str] = ("0", "1"),
    ) -> None:  # fmt: skip
        super().__init__()
        self.names, self.rest = names, [activation or nn.ReLU(), pool or nn.Identity()]
        self.add_module(names[0], nn.Conv2d(inside, outside, kernel, stride, padding, bias=bias))
        self.add_module(names[1], nn.BatchNorm2d(outside))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.get_submodule(self.names[1])(self.get_submodule(self.names[0])(x))
        for layer in self.rest:
            x = layer(x)
        return x


class Added(nn.Module):
    """Two layers, added to what they are given, under the name `module`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.module = nn.Sequential(*(Layer(width, width, bias=False) for _ in range(2)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.module(x)


class Tutorial(nn.Module):
    """The pooled form with a head in a Sequential; `names` of the four convolutions."""

    def __init__(
        self, *, names: tuple[str, ...] = ("conv1", "conv2", "conv3", "conv4"), first: int = 2,
        pool: nn.Module | None = None, activation: nn.Module | None = None, head: nn.Module | None = None,
        widths: tuple[int, ...] = (4, 6, 8, 10),
    ) -> None:  # fmt: skip
        super().__init__()
        self.names = names
        inside = 3
        for number, (name, width) in enumerate(zip(names, widths, strict=True), 1):
            pooled = (pool or nn.MaxPool2d(2)) if number >= first else None
            self.add_module(name, Layer(inside, width, pool=pooled, activation=activation))
            inside = width
        for name, width in (("res1", widths[1]), ("res2", widths[3])):
            self.add_module(name, nn.Sequential(*(Layer(width, width, activation=activation) for _ in range(2))))
        self.classifier = nn.Sequential(
            head or nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(inside, 7)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number, name in enumerate(self.names, 1):
            x = self.get_submodule(name)(x)
            if number % 2 == 0:
                x = x + self.get_submodule(f"res{number // 2}")(x)
        return self.classifier(x)


class DawnBench(nn.Module):
    """The pooled form as a graph of named nodes: one underscore between the parts of a name."""

    def __init__(self, widths: tuple[int, ...] = (4, 6, 8, 10)) -> None:
        super().__init__()
        pair = {"layer1": widths[1], "layer3": widths[3]}
        inside = 3
        for name, width in zip(("prep", "layer1", "layer2", "layer3"), widths, strict=True):
            self._layer(name, inside, width)
            for number in (1, 2) if name in pair else ():
                self._layer(f"{name}_residual_res{number}", width, width)
            inside = width
        self.linear = nn.Linear(inside, 7, bias=False)

    def _layer(self, name: str, inside: int, width: int) -> None:
        self.add_module(f"{name}_conv", nn.Conv2d(inside, width, 3, padding=1, bias=False))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(width))

    def _apply_layer(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.get_submodule(f"{name}_bn")(self.get_submodule(f"{name}_conv")(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self._apply_layer("prep", x)
        for name in ("layer1", "layer2", "layer3"):
            x = nn.functional.max_pool2d(self._apply_layer(name, x), 2)
            if name != "layer2":
                inner = self._apply_layer(f"{name}_residual_res1", x)
                x = x + self._apply_layer(f"{name}_residual_res2", inner)
        return 0.125 * self.linear(torch.amax(x, (2, 3)))


class Times(nn.Module):
    """What FFCV multiplies logits with."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.2 * x


def ffcv(widths: tuple[int, ...] = (4, 6, 8, 5)) -> nn.Module:
    one, two, three, four = widths
    return nn.Sequential(
        Layer(3, one, bias=False), Layer(one, two, kernel=5, stride=2, padding=2, bias=False), Added(two),
        Layer(two, three, bias=False), nn.MaxPool2d(2), Added(three), Layer(three, four, padding=0, bias=False),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(four, 7, bias=False), Times(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("network", "naming"),
    [
        (Tutorial(), "tutorials: conv1 to conv4"),
        (Tutorial(names=("prep", "layer1", "layer2", "layer3")), "tutorials: prep, layer1"),
        (DawnBench(), "David Page's"),
        (ffcv(), "FFCV"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module.model."])
def test_logits(network: nn.Module, naming: str, prefix: str) -> None:
    found = assert_same_logits(network, (32, 32, 3), prefix=prefix, expected="resnet9")
    assert f"(naming: {naming}" in found.description


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (Tutorial(first=1, activation=nn.GELU()), "pool_after=1+2+3+4:activation=gelu"),
        (Tutorial(pool=nn.AvgPool2d(2), head=nn.AdaptiveAvgPool2d(1), activation=nn.SiLU()),
         "pool=avg:head=avg:activation=silu"),
        (Tutorial(head=nn.AdaptiveAvgPool2d(1), activation=nn.CELU(0.3)), "head=avg:activation=celu"),
    ],
)  # fmt: skip
def test_what_weights_do_not_show_can_be_given(network: nn.Module, options: str) -> None:
    found = assert_same_logits(network, (32, 32, 3), architecture=f"resnet9:{options}")
    assert isinstance(found.module, ResNet9)
    usual = assert_same_logits(Tutorial(), (32, 32, 3)).module
    assert isinstance(usual, ResNet9)
    assert ARCHITECTURE.unusual is not None
    assert found.variants is not None
    # The samples may find each of these answers.
    spatial, activations = ARCHITECTURE.unusual(usual)
    assert found.module.clone(activation="relu") in spatial
    assert usual.clone(activation=found.module.activation) in activations
    assert found.module.activation != "relu"
    assert found.module.activation.upper() in note(found.module).upper()


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (Tutorial(widths=(64, 128, 256, 512)), "resnet9-tutorial (naming: tutorials"),
        (DawnBench((64, 128, 256, 512)), "resnet9-dawnbench (naming: David Page's"),
        (ffcv((64, 128, 256, 128)), "resnet9-ffcv (naming: FFCV"),
    ],
)
def test_published_sizes(network: nn.Module, expected: str) -> None:
    assert_recognised(network, expected)

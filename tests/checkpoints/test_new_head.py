"""Networks whose owner replaced the last layer open with their new one, and with what follows it."""

from collections import OrderedDict
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from torch import nn

from tests.oracles.compare import assert_same_logits, randomised, state_dict, torch_logits
from tests.oracles.residual import ResNet, WideResNet
from xray_jax import checkpoints
from xray_jax.checkpoints import convert
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.recognition import recognise
from xray_jax.checkpoints.variants import HeadVariants
from xray_jax.classifier import Classifier
from xray_jax.inference.labels import label_images
from xray_jax.models.new_head import NewHead
from xray_jax.prepare import prepare
from xray_jax.preprocess import Preprocess
from xray_jax.samples import from_arrays

SHAPE = (16, 16, 3)
WIDTH = 64
"""What the last layer of the small WideResNet takes."""


class Wrapped(nn.Module):
    """A backbone and what follows it, under given names."""

    def __init__(self, backbone: nn.Module, name: str, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.name = backbone, name
        self.add_module(name, head)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.get_submodule(self.name)(self.backbone(x))


class Activated(Wrapped):
    """The same with a ReLU between the two, which has no name."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.get_submodule(self.name)(torch.relu(self.backbone(x)))


def network(head: nn.Module) -> nn.Module:
    """A WideResNet with another last layer."""
    module = WideResNet(10, 1)
    module.fc = head
    return module


def two(activation: nn.Module, *norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(), nn.Linear(WIDTH, 12), *norm, activation, nn.Dropout(), nn.Linear(12, 7))


@pytest.mark.parametrize(
    ("module", "last"),
    [
        (network(nn.Sequential(nn.Dropout(), nn.Linear(WIDTH, 7))), "fc.1"),
        (network(nn.Sequential(OrderedDict(drop=nn.Dropout(), out=nn.Linear(WIDTH, 7, bias=False)))), "fc.out"),
        (Wrapped(network(nn.Identity()), "head", nn.Linear(WIDTH, 7)), "head"),
        (Wrapped(network(nn.Identity()), "fc", nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, 7))), "fc.1"),
    ],
)
def test_a_last_layer_of_another_name(module: nn.Module, last: str) -> None:
    if last == "fc.out":
        # A layer that the published network has with a bias.
        with pytest.raises(CheckpointError, match="no known architecture"):
            recognise(Tensors(state_dict(module)))
        return
    found = assert_same_logits(module, SHAPE, expected="wideresnet, group_sizes=(1, 1, 1)")
    assert f"its last layer is {last}" in found.notes
    assert not isinstance(found.module, NewHead)
    assert found.num_classes == 7


@pytest.mark.parametrize(
    "module",
    [
        network(two(nn.ReLU())),
        network(two(nn.ReLU(), nn.BatchNorm1d(12))),
        Wrapped(network(nn.Identity()), "classifier", two(nn.ReLU())),
        # The network's own last layer, and another behind it.
        Wrapped(network(nn.Linear(WIDTH, 12)), "outer", nn.Sequential(nn.ReLU(), nn.Linear(12, 7))),
        # Both of one name.
        Activated(network(nn.Linear(WIDTH, 12)), "fc", nn.Linear(12, 7)),
        network(nn.Sequential(nn.Linear(WIDTH, 12), nn.ReLU(), nn.BatchNorm1d(12), nn.Linear(12, 9), nn.ReLU(),
                              nn.Linear(9, 7))),
        network(nn.Sequential(nn.Linear(WIDTH, 12), nn.Linear(12, 7))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "module."])
def test_several_layers(module: nn.Module, prefix: str) -> None:
    found = assert_same_logits(module, SHAPE, prefix=prefix, expected="wideresnet, group_sizes=(1, 1, 1)")
    assert isinstance(found.module, NewHead)
    assert found.num_classes == 7
    assert ", new head 12+" in found.description
    assert found.notes[-1].endswith(found.variants.note(found.module) if found.variants else "?")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_a_norm_in_front_of_the_head_is_computed_into_it(bias: bool, affine: bool) -> None:
    norm = nn.BatchNorm1d(WIDTH, affine=affine)
    one = nn.Sequential(norm, nn.Dropout(), nn.Linear(WIDTH, 7, bias=bias))
    found = assert_same_logits(network(one), SHAPE, expected="wideresnet, group_sizes=(1, 1, 1)")
    assert "its last layer is fc.2; the norm fc.0 in front is computed into it" in found.notes
    several = nn.Sequential(
        norm, nn.Linear(WIDTH, WIDTH, bias=bias), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Linear(WIDTH, 7)
    )
    found = assert_same_logits(network(several), SHAPE, expected="wideresnet, group_sizes=(1, 1, 1)")
    assert found.num_classes == 7


BODY = ("conv1", "bn1", "relu", "pool", "layer1", "layer2")


class ConcatPool(nn.Module):
    def __init__(self, maxima_first: bool = True) -> None:
        super().__init__()
        self.maxima_first = maxima_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pools = x.amax((2, 3)), x.mean((2, 3))
        return torch.cat(pools if self.maxima_first else pools[::-1], 1)


def fastai(bottleneck: bool) -> nn.Module:
    """The body of a ResNet and fastai's head, as its `vision_learner` puts them together."""
    net = ResNet([1, 1], [8, 8], bottleneck=bottleneck, imagenet=True, skip="downsample", head="fc")
    net.add_module("relu", nn.ReLU())
    width = int(net.get_submodule("fc").in_features)
    body = nn.Sequential(*map(net.get_submodule, BODY))
    first = nn.BatchNorm1d(2 * width), nn.Dropout(), nn.Linear(2 * width, 12, bias=False), nn.ReLU()
    head = nn.Sequential(
        ConcatPool(), nn.Flatten(), *first, nn.BatchNorm1d(12), nn.Dropout(), nn.Linear(12, 7, bias=False)
    )
    return nn.Sequential(body, head)


@pytest.mark.parametrize("bottleneck", [True, False])
def test_resnets_of_fastai(bottleneck: bool) -> None:
    found = assert_same_logits(fastai(bottleneck), (32, 32, 3), expected="resnet")
    assert "its last layer is 1.4, then 1.8; the norm 1.2 in front is computed into it" in found.notes
    assert "the last layer takes max and then average pools" in found.notes[-1]
    assert not any("came before it" in note for note in found.notes)


def test_the_order_of_maxima_and_averages_is_open() -> None:
    """timm's `catavgmax` has averages first."""
    net = ResNet([1, 1], [8, 8], imagenet=True, skip="downsample", head="fc")
    net.add_module("relu", nn.ReLU())
    body = nn.Sequential(*map(net.get_submodule, BODY))
    module = randomised(nn.Sequential(body, ConcatPool(maxima_first=False), nn.Sequential(nn.Linear(16, 7))))
    found = recognise(Tensors(state_dict(module)))
    assert found.variants is not None
    ((first, second),) = found.variants.alternatives(found.module, (32, 32, 3))
    images = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype(np.float32)
    assert first == found.module
    wanted = torch_logits(module, images)
    np.testing.assert_allclose(jax.jit(second.apply)(found.variables, images), wanted, atol=1e-4 * np.abs(wanted).max())
    assert np.abs(jax.jit(first.apply)(found.variables, images) - wanted).max() > 0.01 * np.abs(wanted).max()


@pytest.mark.parametrize(
    "beside",
    [
        # It takes what no layer gives; a projection beside the classes.
        nn.Sequential(nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 9)),
        # A layer in front of the first one, beside the network's own.
        nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 7)),
    ],
)
def test_what_is_no_head_is_not_dropped(beside: nn.Module) -> None:
    with pytest.raises(CheckpointError):
        recognise(Tensors(state_dict(Wrapped(network(nn.Linear(WIDTH, 7)), "projector", beside))))


def test_a_norm_is_first_by_the_order_of_the_file() -> None:
    """Where names have no numbers, and both sides of the first layer are as wide."""
    layers = OrderedDict(bn=nn.BatchNorm1d(WIDTH), fc=nn.Linear(WIDTH, WIDTH), relu=nn.ReLU(), out=nn.Linear(WIDTH, 7))
    head = nn.Sequential(layers)
    found = assert_same_logits(network(head), SHAPE, expected="wideresnet, group_sizes=(1, 1, 1)")
    assert any("the norm fc.bn in front" in note for note in found.notes)


def saved(path: Path, module: nn.Module) -> Path:
    torch.save(module.state_dict(), path)
    return path


def test_a_converted_one_is_the_same_network(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.pt", network(two(nn.ReLU(), nn.BatchNorm1d(12))))
    for kind in convert.FORMATS:
        after = convert.convert(source, tmp_path / kind, kind=kind)
        assert isinstance(after.network, NewHead)
        assert isinstance(after.variants, HeadVariants)
        again = checkpoints.load(tmp_path / kind)
        assert isinstance(again, Classifier)
        assert (again.network, again.num_classes) == (after.network, 7)


def test_samples_choose_the_activation_between_its_layers(tmp_path: Path) -> None:
    model = checkpoints.load(saved(tmp_path / "a.pt", network(two(nn.Tanh()))), preprocess="0-1", input_shape=SHAPE)
    assert isinstance(model, Classifier)
    assert isinstance(model.network, NewHead)
    true = model.network.clone(activation="tanh")
    # Every class has some of the images.
    head = {name: leaves for name, leaves in model.variables["params"].items() if name.startswith("new_head.")}
    (last,) = head.values()
    images = np.random.default_rng(0).uniform(size=(64, *SHAPE)).astype(np.float32)
    logits = np.asarray(true.apply(model.variables, images))
    last["kernel"], last["bias"] = last["kernel"] / logits.std(0), (last["bias"] - logits.mean(0)) / logits.std(0)
    truth = Classifier(true, model.variables, 7, SHAPE, "truth", Preprocess())
    found = prepare(model, from_arrays(images, label_images(truth, images))).model
    assert isinstance(found, Classifier)
    assert found.network == true
    assert found.architecture.endswith("new head 12+7 (tanh)")

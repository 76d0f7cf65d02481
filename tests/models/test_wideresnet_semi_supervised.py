"""WideResNets of semi-supervised learning have the usual one's names: samples tell them apart."""

import numpy as np
import pytest
import torch

from tests.oracles.compare import assert_same_logits, randomised, state_dict, torch_logits
from tests.oracles.residual import DeepMindWideResNet, WideResNet
from tests.oracles.semi_supervised import SemiSupervisedWideResNet
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.loading import classifier
from xray_jax.checkpoints.recognition import Recognised, recognise
from xray_jax.classifier import Classifier
from xray_jax.models.published import to_tensors
from xray_jax.models.wideresnet import WideResNet as Network
from xray_jax.models.wideresnet import note
from xray_jax.prepare import prepare
from xray_jax.preprocess import parse
from xray_jax.samples import from_arrays

SHAPE = (16, 16, 3)


def unusual(found: Recognised) -> tuple[Network, ...]:
    """The networks that are asked where the usual one labels nothing."""
    assert found.variants is not None
    assert found.variants.alternatives(found.module, SHAPE) == ()
    (axis,) = found.variants.unusual(found.module)
    return tuple(network for network in axis if isinstance(network, Network))


def errors(found: Recognised, true: torch.nn.Module, networks: tuple[Network, ...]) -> list[float]:
    """Of each network's logits, by the largest."""
    images = np.random.default_rng(1).normal(size=(2, *SHAPE)).astype(np.float32)
    wanted = torch_logits(true, images)
    assert np.ptp(wanted) > 1e-2
    return [
        float(np.abs(network.apply(found.variables, images) - wanted).max() / np.abs(wanted).max())
        for network in networks
    ]


@pytest.mark.parametrize(("shared", "right"), [(True, 1), (False, 2)])
@pytest.mark.parametrize("first", [16, 32])
def test_those_without_biases(shared: bool, right: int, first: int) -> None:
    true = randomised(SemiSupervisedWideResNet(shared=shared, first=first))
    found = recognise(Tensors(state_dict(true)))
    networks = unusual(found)
    assert [(each.activation, each.raw) for each in networks] == [
        ("relu", False), ("leaky_relu", False), ("leaky_relu", True)
    ]  # fmt: skip
    assert networks[0] == found.module
    assert [error < 1e-4 for error in errors(found, true, networks)] == [number == right for number in range(3)]


@pytest.mark.parametrize("shared", [True, False])
def test_those_with_biases(shared: bool) -> None:
    """The biases tell the activation and the norms' epsilon; which blocks activate their input stays open."""
    true = SemiSupervisedWideResNet(shared=shared, biased=True)
    if shared:
        found = assert_same_logits(true, SHAPE, expected="wideresnet, ")
        assert (found.module.activation, found.module.epsilon) == ("leaky_relu", 1e-3)
        return
    true = randomised(true)
    found = recognise(Tensors(state_dict(true)))
    (raw,) = [network for network in unusual(found) if network.raw]
    assert errors(found, true, (raw,))[0] < 1e-4


@pytest.mark.parametrize("spec", [None, "0-1"])
def test_the_samples_find_them(spec: str | None) -> None:
    true = randomised(SemiSupervisedWideResNet(shared=False))
    images = np.random.default_rng(0).uniform(size=(100, *SHAPE)).astype(np.float32)
    logits = torch_logits(true, images)
    # Every class has some of the images.
    with torch.no_grad():
        true.fc.weight /= torch.tensor(logits.std(0))[:, None]
        true.fc.bias.copy_((true.fc.bias - torch.tensor(logits.mean(0))) / torch.tensor(logits.std(0)))
    samples = from_arrays(images, torch_logits(true, images).argmax(1))
    model = classifier(Tensors(state_dict(true), size=1 << 20), None, None, spec and parse(spec), SHAPE)
    found = prepare(model, samples)
    assert isinstance(found.model, Classifier)
    assert isinstance(found.model.network, Network)
    assert (found.model.network.activation, found.model.network.raw) == ("leaky_relu", True)
    assert (found.clean_accuracy, found.doubt) == (1, None)
    assert note(found.model.network) in found.model.notes
    # What the row calls it is the same network again.
    again = recognise(Tensors(to_tensors(model.variables)), architecture=found.model.architecture.partition(" (")[0])
    assert again.module == found.model.network


@pytest.mark.parametrize("options", ["", ":activation=leaky_relu", ":activation=leaky_relu:raw=true"])
def test_what_is_said_is_not_asked(options: str) -> None:
    arrays = state_dict(WideResNet(10, 1))
    found = recognise(Tensors(arrays), architecture=f"wideresnet{options}")
    assert isinstance(found.module, Network)
    (text,) = found.notes
    assert ("leaky ReLU of slope 0.1" in text) == bool(options)
    assert ("those of later groups than the first take it as it is" in text) == found.module.raw
    if "raw" in options:
        assert found.variants is not None
        assert found.variants.unusual(found.module) == ()
    elif options:
        assert [network.activation for network in unusual(found)] == ["leaky_relu"] * 2


def test_deepminds_are_as_they_are_published() -> None:
    found = recognise(Tensors(state_dict(DeepMindWideResNet(2))))
    assert "SiLU" in found.notes[0]
    assert found.variants is not None
    assert found.variants.unusual(found.module) == ()

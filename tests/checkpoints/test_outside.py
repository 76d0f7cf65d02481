"""Constants of a wrapper, copies and what a loss holds are no part of a network; layers before or behind it are."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.oracles.compare import randomised, state_dict, torch_logits
from tests.oracles.plain import SingleHead, vgg_features
from xray_jax import preprocess
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.loading import classifier
from xray_jax.checkpoints.recognition import recognise
from xray_jax.classifier import Classifier
from xray_jax.models import build, expected_shapes

MEAN, STD = (0.49, 0.48, 0.44), (0.25, 0.24, 0.26)
SHAPE = (32, 32, 3)


def _network() -> nn.Module:
    return SingleHead(vgg_features(((4,), (6, 6), (8,)), norm="before"), 128)


class Normalised(nn.Module):
    """Normalises images inside, as wrappers of robustness libraries do."""

    def __init__(self, scale: float, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.scale, self.model = scale, _network()
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(f"new_{name}", scale * torch.tensor(values).view(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, std = (getattr(self, f"new_{name}").view(1, 3, 1, 1) for name in ("mean", "std"))
        return self.model((self.scale * x - mean) / std)


def _open(arrays: dict[str, np.ndarray], **flags: str) -> Classifier:
    given = preprocess.parse(flags["preprocess"]) if flags else None
    return classifier(Tensors(arrays, size=1 << 20), None, None, given, None)


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("shape", [(3,), (1, 3, 1, 1)])
def test_a_wrappers_normalisation_is_the_preprocessing(scale: float, shape: tuple[int, ...]) -> None:
    network = Normalised(scale, shape)
    arrays = state_dict(randomised(network))
    # What `randomised` does to weights it did to these constants too.
    arrays |= {f"new_{n}": scale * np.array(v, np.float32).reshape(shape) for n, v in (("mean", MEAN), ("std", STD))}
    network.load_state_dict({key: torch.from_numpy(np.asarray(array)) for key, array in arrays.items()})
    model = _open(arrays)
    assert model.preprocess_source == "file"
    assert any("new_mean = " in note and "its preprocessing" in note for note in model.notes)
    images = np.random.default_rng(1).uniform(size=(4, *SHAPE)).astype(np.float32)
    wanted = torch_logits(network, images)
    got = np.asarray(model.network.apply(model.variables, model.preprocess(images)))
    assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert _open(arrays, preprocess="+-1").preprocess == preprocess.parse("+-1")


SMALL = {"model." + key: array for key, array in state_dict(randomised(_network())).items()}


@pytest.mark.parametrize(
    "constants",
    [
        {"mean": MEAN, "std": (0.25, 0.0, 0.26)},
        {"mean": MEAN, "std": (np.nan,) * 3},
        {"mean": (0.5, 0.4), "std": (0.5, 0.4)},
        {"a.mean": MEAN, "a.std": STD, "b.mean": STD, "b.std": STD},
        {"mean": np.zeros(3, np.complex64), "std": STD},
        {"mean": MEAN},
        {"mean\n": MEAN, "std": STD},
    ],
)
def test_what_cannot_be_a_normalisation_is_not_applied(constants: dict) -> None:
    arrays = SMALL | {key: np.asarray(value) for key, value in constants.items()}
    model = _open(arrays)
    assert model.preprocess_source == "assumed"
    assert any("not applied" in note for note in model.notes)


def _shapes(layer: nn.Module, name: str) -> dict[str, np.ndarray]:
    return {f"{name}.{key}": array for key, array in state_dict(layer).items()}


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.Linear(8, 2), "head"),
        (nn.Conv2d(1, 1, 1, bias=False), "colours"),
        (nn.BatchNorm2d(3), "norm"),
        (nn.BatchNorm2d(3, affine=False), "norm"),
        (nn.GroupNorm(1, 3), "norm"),
        (nn.Linear(6, 2), "metric"),
    ],
)
def test_small_layers_beside_a_network_are_not_dropped(layer: nn.Module, name: str) -> None:
    arrays = SMALL | _shapes(layer, name)
    with pytest.raises(CheckpointError, match=rf"(?s)below 'model\.' it is a vgg.*{name}\..*lie outside.*ONNX"):
        recognise(Tensors(arrays))


@pytest.mark.parametrize(("layer", "name"), [(nn.Linear(7, 2), "head"), (nn.Conv2d(3, 3, 1), "colours")])
def test_a_layer_that_continues_the_chain_is_part_of_it(layer: nn.Module, name: str) -> None:
    found = recognise(Tensors(SMALL | _shapes(layer, name)))
    assert found.name.startswith("plain:")
    assert name in [each.name for each in (*found.module.convs, *found.module.dense)]
    assert found.num_classes == (2 if name == "head" else 7)


@pytest.mark.parametrize("classes", [7, 100])
@pytest.mark.parametrize("prefix", ["model.", "net.", ""])
@pytest.mark.parametrize("key", ["criterion.weight", "loss_fn.pos_weight", "train_metrics.hits", "val_acc.tp"])
def test_what_a_loss_holds_is_dropped(prefix: str, key: str, classes: int) -> None:
    arrays = {prefix + name.removeprefix("model."): array for name, array in SMALL.items()}
    found = recognise(Tensors(arrays | {key: np.ones(classes)}))
    assert found.name == "vgg"
    assert any(key in note and "not used" in note for note in found.notes)


def test_a_layer_of_the_networks_own_may_be_called_like_a_loss() -> None:
    shapes = expected_shapes(build("smallcnn32-64", 10), (28, 28, 1))
    names = {"fc1": "metric", "fc2": "loss"}
    arrays = {}
    for key, shape in shapes.items():
        layer, _, leaf = key.rpartition(".")
        arrays[f"{names.get(layer, layer)}.{leaf}"] = np.ones(shape, np.float32)
    found = recognise(Tensors(arrays))
    assert [layer.name for layer in found.module.dense] == ["metric", "loss"]
    assert all(layer.bias for layer in found.module.dense)

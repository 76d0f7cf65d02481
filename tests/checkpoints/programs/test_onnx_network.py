"""Whole networks that torch exports, as JAX programs: logits against onnxruntime's, the demo's against its own."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from xray_jax import samples
from xray_jax.checkpoints.loading import load
from xray_jax.checkpoints.programs import onnx_network
from xray_jax.checkpoints.programs.onnx_session import open_session
from xray_jax.classifier import Access, Classifier
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.inference.labels import to_device
from xray_jax.inference.options import InferenceOptions
from xray_jax.inference.whitebox import input_gradients

torch = pytest.importorskip("torch", reason="torch exports the networks that are read here (extra `test`)")
from torch import nn  # noqa: E402

from tests.oracles import demo_nets, mobile, residual  # noqa: E402
from tests.oracles.compare import randomised  # noqa: E402

IMAGES = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Sequential(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).view(images.size(0), -1))


class Encoder(nn.Module):
    """A ViT around `nn.TransformerEncoder`, its positions resized as for another image size."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.positions = nn.Parameter(torch.zeros(1, 16, 2, 2))
        layer = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.patches(images)
        x = x + nn.functional.interpolate(self.positions, size=x.shape[2:], mode="bilinear")
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x.flatten(2).transpose(1, 2)], 1)
        return self.head(self.layers(x)[:, 0])


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lenet": LeNet,
    "resnet": lambda: residual.ResNet([1, 1], [8, 12], imagenet=True, skip="downsample", head="fc"),
    "mobilenet": lambda: mobile.MobileNetV3([(8, 12, 3, 4, False, 2), (12, 16, 5, 8, True, 1)], 8, 24, 16),
    "vit": Encoder,
}


def exported(network: nn.Module, path: Path, batch: str, opset: int = 17) -> Path:
    """An ONNX file of a network with inputs `[1, 3, 32, 32]` or an open batch dimension."""
    torch.onnx.export(
        network.eval(),
        (torch.zeros(1, 3, 32, 32),),
        str(path),
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch"}} if batch == "open" else None,
        opset_version=opset,
        dynamo=False,
    )
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("batch", ["one", "open"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_compute_what_onnxruntime_does(name: str, batch: str, tmp_path: Path) -> None:
    path = exported(randomised(NETWORKS[name]()), tmp_path / "m.onnx", batch)
    model = load(path)
    assert isinstance(model, Classifier)
    assert (model.access, model.batch_size, model.notes) == (Access.WEIGHTS, None, ())
    wanted = open_session(str(path)).scores(IMAGES, "y")
    # Compiled by the reader, for four images.
    found = np.asarray(onnx_network.compiled(model.network)(model.variables, IMAGES))
    np.testing.assert_allclose(found, wanted, atol=2e-4 * np.abs(wanted).max())
    np.testing.assert_array_equal(found.argmax(1), wanted.argmax(1))


def first_logit(logits: jax.Array) -> jax.Array:
    return logits[:, 0]


@pytest.mark.filterwarnings("ignore")
def test_an_export_of_one_image_scans_as_the_network_that_it_was(tmp_path: Path) -> None:
    options = InferenceOptions(16, capacity=64)
    own = demo_nets.prepared("badnets-t3-s201", options)
    path = exported(demo_nets.in_torch(own), tmp_path / "m.onnx", "one")
    clean = samples.read("cifar10")
    model = dataclasses.replace(own, model=to_device(load(path, preprocess="0-1"), options))
    assert model.access is Access.WEIGHTS
    planes = Planes(PlanesOptions(planes=2, density=12))
    one, other = (planes.detect(each, clean) for each in (model, own))
    assert [each.name for each in one.statistics] == ["re", "ats"]
    np.testing.assert_allclose([s.value for s in one.statistics], [s.value for s in other.statistics], rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_gradients_are_those_of_torch(tmp_path: Path) -> None:
    network, options = randomised(LeNet()), InferenceOptions(8)
    model = to_device(load(exported(network, tmp_path / "m.onnx", "one")), options)
    _, found = input_gradients(model, IMAGES, first_logit, (), options)
    images = torch.tensor(np.ascontiguousarray(np.moveaxis(IMAGES, -1, 1)), requires_grad=True)
    network(images)[:, 0].sum().backward()
    wanted = np.moveaxis(images.grad.numpy(), 1, -1)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.filterwarnings("ignore")
def test_equal_architectures_share_one_program(tmp_path: Path) -> None:
    models = [load(exported(randomised(LeNet(), seed), tmp_path / f"{seed}.onnx", "one")) for seed in (0, 1)]
    assert models[0].network == models[1].network
    assert not np.array_equal(models[0].variables["weights"][0], models[1].variables["weights"][0])
    with pytest.raises(ValueError, match="for images of"):
        models[0].network.apply(models[0].variables, np.zeros((1, 28, 28, 3), np.float32))

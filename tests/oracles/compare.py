"""Runs a torch network and what recognition makes of its state dict on the same images."""

import re
from typing import Any

import jax
import numpy as np
import torch

from tests.oracles import published
from xray_jax.checkpoints.contents import CONFIG, Tensors
from xray_jax.checkpoints.recognition import Recognised, recognise
from xray_jax.models.architecture import Renames


def randomised(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights, norms and running statistics, of a size that keeps activations alive through all layers."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape: torch.Size, mean: float, std: float) -> torch.Tensor:
        return mean + std * torch.randn(shape, generator=generator)

    for name, tensor in network.state_dict().items():
        leaf = name.rpartition(".")[2]
        if leaf == "num_batches_tracked":
            continue
        if leaf == "running_var":
            value = normal(tensor.shape, 0, 1).abs() + 0.5
        elif tensor.ndim > 1:
            value = normal(tensor.shape, 0, (2 / tensor[0].numel()) ** 0.5 if tensor[0].numel() > 1 else 0.5)
        else:
            value = normal(tensor.shape, 1 if leaf == "weight" else 0, 0.2)
        tensor.copy_(value)
    return network.eval()


def state_dict(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def renamed(key: str, renames: Renames) -> str:
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    return key


def assert_same_weights(network: torch.nn.Module, renames: Renames, naming: str) -> Recognised:
    """Recognises the randomised network under its own names and under another publisher's, as the same weights."""
    arrays = state_dict(randomised(network))
    own = recognise(Tensors(arrays))
    other = recognise(Tensors({renamed(key, renames): array for key, array in arrays.items()}))
    assert f"naming: {naming}" in other.description, other.description
    jax.tree.map(np.testing.assert_array_equal, own.variables, other.variables)
    return other


def torch_logits(network: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()


def assert_recognised(network: torch.nn.Module, expected: str) -> None:
    """Recognises a network of full size from its keys and shapes; `expected` must begin the description."""
    found = recognise(Tensors(state_dict(network)))
    assert found.description.startswith(expected), found.description


def assert_same_logits(
    network: torch.nn.Module,
    shape: tuple[int, int, int],
    *,
    architecture: str | None = None,
    prefix: str = "",
    expected: str | None = None,
    renames: Renames = (),
) -> Recognised:
    """Recognises the randomised network from its state dict and compares logits on two images of `shape`.

    Within 1e-4 of the largest logit. `expected` must be the beginning of the description, `renames` are patterns that
    give the keys their published names.
    """
    network = randomised(network)
    images = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    wanted = torch_logits(network, images)
    tensors = Tensors({prefix + renamed(name, renames): array for name, array in state_dict(network).items()})
    found = recognise(tensors, architecture=architecture)
    _assert_logits(found, images, wanted)
    if expected is not None:
        assert found.description.startswith(expected), found.description
    return found


def assert_published(
    network: str, expected: str, *, architecture: str | None = None, config: dict[str, Any] | None = None
) -> Recognised:
    """Recognises a network of `published.jsonl` and compares its logits with those that its publisher's package gave.

    Within 1e-4 of the largest logit. `expected` must be the beginning of the description, `config` is what a
    config.json beside the weights says.
    """
    stored = published.read(network)
    arrays = {key: published.weights(key, tuple(shape)) for key, shape in stored["shapes"].items()}
    found = recognise(Tensors(arrays, metadata={CONFIG: config} if config else {}), architecture=architecture)
    assert found.description.startswith(expected), found.description
    _assert_logits(found, published.images(*stored["image"]), np.array(stored["logits"]))
    return found


def _assert_logits(found: Recognised, images: np.ndarray, wanted: np.ndarray) -> None:
    assert np.isfinite(wanted).all()
    assert np.ptp(wanted) > 1e-2, "a dead network proves nothing"
    with jax.default_matmul_precision("highest"):
        traced = jax.jit(found.module.apply).lower(found.variables, images)
    # Two images are run once: compiling is all the time, so it does little.
    quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    got = np.asarray(traced.compile(compiler_options=quick)(found.variables, images))
    assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max(), found.description

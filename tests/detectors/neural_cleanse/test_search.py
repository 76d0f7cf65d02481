"""Loss, gradient and steps of Neural Cleanse against the method written out in torch, on a trained network."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import xray_jax
from tests.oracles import demo_nets
from tests.oracles.demo_nets import SmallPreActResNet
from xray_jax.detectors.neural_cleanse import search
from xray_jax.detectors.neural_cleanse.options import NeuralCleanseOptions
from xray_jax.inference.options import InferenceOptions
from xray_jax.inference.whitebox import input_gradients
from xray_jax.prepare import PreparedModel

CLASSES = np.array([0, 3, 7], np.int32)
COST = np.array([1e-3, 2e-2, 0.1])
IMAGES = xray_jax.samples.read("cifar10").images[:6]


@pytest.fixture(scope="module")
def prepared() -> PreparedModel:
    return demo_nets.prepared("badnets-t3-s201", InferenceOptions(16))


@pytest.fixture(scope="module")
def gradients(prepared: PreparedModel) -> search.Gradients:
    return lambda images, labels: input_gradients(
        prepared.model, images, search.log_likelihood_and_hit, (labels,), InferenceOptions(16)
    )


@pytest.fixture(scope="module")
def network(prepared: PreparedModel) -> SmallPreActResNet:
    return demo_nets.in_torch(prepared)


def stated_loss(
    network: nn.Module, mask: torch.Tensor, pattern: torch.Tensor, batch: np.ndarray, label: int, cost: float
) -> tuple[torch.Tensor, int]:
    """Wang et al., equations 2 and 3, for one class; mask `[1, H, W]`, pattern `[3, H, W]`, before tanh."""
    shown_mask, shown_pattern = torch.tanh(mask) / 2 + 0.5, torch.tanh(pattern) / 2 + 0.5
    x = torch.from_numpy(batch).permute(0, 3, 1, 2)
    logits = network((1 - shown_mask) * x + shown_mask * shown_pattern)
    labels = torch.full((len(x),), label)
    loss = F.cross_entropy(logits, labels) + cost * shown_mask.abs().sum()
    return loss, int((logits.argmax(1) == labels).sum())


def raw_tensors(raw: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    moved = torch.tensor(raw).permute(2, 0, 1)
    return moved[:1].clone().requires_grad_(), moved[1:].clone().requires_grad_()


def joined(mask: torch.Tensor, pattern: torch.Tensor) -> np.ndarray:
    return torch.cat([mask, pattern]).detach().permute(1, 2, 0).numpy()


def test_loss_and_gradient_are_those_of_torch(gradients: search.Gradients, network: SmallPreActResNet) -> None:
    raw = np.random.default_rng(0).normal(size=(3, 32, 32, 4)).astype(np.float32)
    losses, hits, slopes = search.loss(gradients, raw, CLASSES, IMAGES, COST)
    for k, label in enumerate(CLASSES):
        mask, pattern = raw_tensors(raw[k])
        expected, hit = stated_loss(network, mask, pattern, IMAGES, int(label), float(COST[k]))
        expected.backward()
        assert losses[k] == pytest.approx(float(expected.detach()), rel=1e-4)
        assert hits[k] == hit
        assert mask.grad is not None
        assert pattern.grad is not None
        wanted = joined(mask.grad, pattern.grad)
        np.testing.assert_allclose(slopes[k], wanted, rtol=1e-3, atol=1e-5 * float(np.abs(wanted).max()))


def test_steps_are_those_of_torchs_adam(gradients: search.Gradients, network: SmallPreActResNet) -> None:
    state = search.State.start(3, (32, 32, 3))
    for _ in range(4):
        search.step(gradients, state, np.arange(3), CLASSES, IMAGES, COST, 0.1)
    for k, label in enumerate(CLASSES):
        mask, pattern = raw_tensors(np.ones((32, 32, 4), np.float32))
        optimiser = torch.optim.Adam([mask, pattern], lr=0.1, betas=(0.5, 0.9))
        for _ in range(4):
            optimiser.zero_grad()
            stated_loss(network, mask, pattern, IMAGES, int(label), float(COST[k]))[0].backward()
            optimiser.step()
        # Adam divides gradients near zero by their own size: a few pixels take the other sign.
        difference = np.abs(state.raw[k] - joined(mask, pattern))
        assert np.quantile(difference, 0.99) < 2e-3
        norm = float((torch.tanh(mask.detach()) / 2 + 0.5).sum())
        assert float(state.masks[k].sum()) == pytest.approx(norm, rel=1e-3)


def test_all_classes_at_once_are_one_class_at_a_time(
    gradients: search.Gradients, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = NeuralCleanseOptions(images=10, steps=2, epochs=4, success=0.5, patience=1, stop_patience=1)
    images = xray_jax.samples.read("cifar10").images[:10]
    together = search.reverse(gradients, images, CLASSES, options)
    alone = [search.reverse(gradients, images, CLASSES[k : k + 1], options) for k in range(3)]
    assert together.queries == sum(each.queries for each in alone)
    for k, each in enumerate(alone):
        assert together.norms[k] == pytest.approx(each.norms[0], rel=1e-3)
        assert (together.found[k], together.flip_rates[k]) == (each.found[0], each.flip_rates[0])
    # So do the parts that memory cuts them into.
    monkeypatch.setattr(search, "CHUNK_BYTES", 1)
    np.testing.assert_allclose(search.reverse(gradients, images, CLASSES, options).norms, together.norms, rtol=1e-3)


def test_the_mask_that_is_kept_is_the_smallest_with_success(gradients: search.Gradients) -> None:
    options = NeuralCleanseOptions(images=10, steps=1, epochs=12, success=0.9)
    images = xray_jax.samples.read("cifar10").images[:10]
    short, long = (
        search.reverse(gradients, images, np.array([3], np.int32), dataclasses.replace(options, epochs=count))
        for count in (6, 12)
    )
    assert short.found[0]
    assert long.norms[0] <= short.norms[0]
    assert long.flip_rates[0] >= 0.9

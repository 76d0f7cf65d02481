"""The largest margin by class, against the method written out in torch on a trained network."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy import stats

from tests import factory
from tests.oracles import demo_nets
from xray_jax.classifier import Network, Variables
from xray_jax.detectors import objectives
from xray_jax.detectors.margin import Margin, MarginOptions, largest_margins, paper_options, surprise
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import PreparedModel, prepare
from xray_jax.samples import read

SHAPE = (32, 32, 3)
FEW = MarginOptions(starts=2, steps=4)


@pytest.fixture(scope="module")
def backdoored() -> PreparedModel:
    return demo_nets.prepared("badnets-t3-s201", InferenceOptions(16))


def torch_margins(network: torch.nn.Module, x: torch.Tensor, target: int) -> torch.Tensor:
    logits = network(x)
    others = torch.cat([logits[:, :target], logits[:, target + 1 :]], 1)
    return logits[:, target] - others.max(1).values


@pytest.mark.exhaustive
@pytest.mark.parametrize("optimiser", ["adam", "gradient"])
def test_the_ascent_is_that_of_torch(backdoored: PreparedModel, optimiser: str) -> None:
    options = dataclasses.replace(FEW, optimiser=optimiser, learning_rate=0.05)
    found = largest_margins(backdoored, SHAPE, options)
    network = demo_nets.in_torch(backdoored)
    starts = np.random.default_rng(options.seed).random((options.starts, *SHAPE), np.float32)
    for target in (3, 8):
        x = torch.tensor(starts).permute(0, 3, 1, 2).clone().requires_grad_()
        # One image an optimiser: Adam works element by element, so together is the same.
        maximise = {
            "adam": torch.optim.Adam([x], lr=0.05, maximize=True),
            "gradient": torch.optim.SGD([x], lr=0.05, maximize=True),
        }[optimiser]
        best = torch.full((options.starts,), -torch.inf)
        for _ in range(options.steps + 1):
            maximise.zero_grad()
            reached = torch_margins(network, x, target)
            best = torch.maximum(best, reached.detach())
            reached.sum().backward()
            maximise.step()
            x.data.clamp_(0, 1)
        assert found.margins[target] == pytest.approx(float(best.max()), rel=2e-3)
    assert found.gradients == 10 * options.starts * (options.steps + 1)


def test_the_images_have_the_margins(backdoored: PreparedModel) -> None:
    found = largest_margins(backdoored, SHAPE, FEW)
    assert 0 <= found.images.min() <= found.images.max() <= 1
    network = demo_nets.in_torch(backdoored)
    for target in range(10):
        image = torch.tensor(found.images[target]).permute(2, 0, 1)[None]
        assert float(torch_margins(network, image, target)[0]) == pytest.approx(found.margins[target], rel=1e-3)


def test_a_backdoors_target_stands_out(backdoored: PreparedModel) -> None:
    samples = read("cifar10")
    found, clean = (Margin().detect(m, samples) for m in (backdoored, demo_nets.prepared("clean-s100")))
    assert found.details["largest"] == 3
    assert {s.name: s.suspect for s in found.statistics} == {"log_ratio": "high", "surprise": "high"}
    for ours, theirs in zip(found.statistics, clean.statistics, strict=True):
        assert ours.value is not None
        assert theirs.value is not None
        assert ours.value > 3 * theirs.value
    paired = found.paired["log_margin"]
    assert np.median(paired) == pytest.approx(0, abs=1e-12)
    assert paired.argmax() == 3
    assert found.queries == 10 * 3 * 31


def test_devices_and_batches_change_nothing_that_matters() -> None:
    samples = factory.tiny_samples()
    found = []
    for devices, batch in ((1, 32), (8, 2)):
        options = InferenceOptions(batch, devices=tuple(jax.devices()[:devices]))
        found.append(Margin(FEW).detect(prepare(factory.tiny_classifier(), samples, options), samples))
    for other in found[1:]:
        np.testing.assert_allclose(other.paired["log_margin"], found[0].paired["log_margin"], atol=1e-3)


def test_objective_is_the_logit_above_the_largest_other() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    target = np.array([0, 1, 2, 3, 0, 1], np.int32)
    expected = [row[t] - np.delete(row, t).max() for row, t in zip(logits, target, strict=True)]
    np.testing.assert_allclose(objectives.margin(jnp.asarray(logits), jnp.asarray(target)), expected, rtol=1e-6)


@pytest.mark.parametrize("largest", [3.5, 20.0, 1e3])
def test_surprise_is_mm_bds_p_value(largest: float) -> None:
    others = np.array([1.0, 2.0, 2.5, 3.0, 1.5, 2.2])
    shape, _, scale = stats.gamma.fit(others, floc=0)
    found = surprise(np.append(others, largest))
    p_value = 1 - stats.gamma.cdf(largest, shape, scale=scale) ** 7
    if p_value > 1e-10:
        assert found == pytest.approx(-np.log10(p_value), rel=1e-6)
    else:
        # Where 1 - F^C is rounded to 0 the tail is not: C times the tail.
        assert found == pytest.approx(-(np.log(7) + stats.gamma.logsf(largest, shape, scale=scale)) / np.log(10))


@pytest.mark.parametrize("largest", [1.0, 5.0])
def test_margins_that_are_all_alike_surprise_nobody(largest: float) -> None:
    """As those of a network that is flat around noise."""
    assert surprise(np.array([1.0, 1.0, 1.0, 1.0, largest])) is None
    assert surprise(np.array([-1.0, -2.0, 0.0, 0.0, largest])) is None


@dataclasses.dataclass(frozen=True)
class Loud:
    """The tiny network with some logits so large that half precision has no number for them."""

    network: Network
    loud: tuple[int, ...]

    def apply(self, variables: Variables, images: jax.Array, /) -> jax.Array:
        logits = self.network.apply(variables, images)
        louder = np.where(np.isin(np.arange(5), self.loud), 1e9, 1).astype(np.float32)
        return (logits * louder[None]).astype(jnp.float16)


@pytest.mark.parametrize("options", [FEW, dataclasses.replace(paper_options(), starts=2, steps=4)])
@pytest.mark.parametrize("loud", [(1,), (1, 3), (0, 1, 2, 3, 4)])
def test_margins_that_overflow_are_no_statistic(loud: tuple[int, ...], options: MarginOptions) -> None:
    samples, sound = factory.tiny_samples(), factory.tiny_classifier()
    model = prepare(dataclasses.replace(sound, network=Loud(sound.network, loud)), samples)
    found = Margin(options).detect(model, samples)
    assert [each.value for each in found.statistics] == [None, None]
    assert dict(found.paired) == {}
    assert "NaN or infinite" in found.details["reason"]


def test_the_paper_stops_images_that_no_longer_move() -> None:
    samples = factory.tiny_samples()
    model = prepare(factory.tiny_classifier(), samples)
    options = dataclasses.replace(paper_options(), starts=2, steps=40, learning_rate=1e-9)
    # A step this short changes nothing: every image stops as soon as two values are known.
    assert largest_margins(model, samples.images.shape[1:], options).gradients == 5 * 2 * 2
    moving = dataclasses.replace(options, tolerance=0.0)
    assert largest_margins(model, samples.images.shape[1:], moving).gradients == 5 * 2 * 41


def test_too_many_classes_are_no_error() -> None:
    samples = factory.tiny_samples()
    found = Margin(MarginOptions(max_classes=4)).detect(prepare(factory.tiny_classifier(), samples), samples)
    assert [s.value for s in found.statistics] == [None, None]
    assert (found.queries, dict(found.paired)) == (0, {})
    assert "5 classes" in found.details["reason"]


@pytest.mark.parametrize("wrong", [{"starts": 0}, {"steps": 0}, {"learning_rate": 0.0}, {"optimiser": "lion"}])
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MarginOptions(**wrong)

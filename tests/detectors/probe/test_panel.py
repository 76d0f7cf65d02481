"""The panel of stamps: what it is made of, and its flip rates."""

import dataclasses

import numpy as np
import pytest

from tests import factory
from xray_jax.classifier import BlackBox
from xray_jax.detectors.probe import queries as stamped
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.detectors.probe.panel import LEFT_OUT, Panel, PanelOptions, flip_rates, panel
from xray_jax.detectors.probe.stamps import FAMILIES
from xray_jax.prepare import prepare
from xray_jax.samples import SamplesError, from_arrays

SAMPLES = factory.tiny_samples(100, side=16)
OPTIONS = PanelOptions(per_family=6, images=12)


def test_flip_rates_are_counted_image_by_image() -> None:
    generator = np.random.default_rng(0)
    labels, truth = generator.integers(0, 4, (7, 30)), generator.integers(0, 4, 30)
    found = flip_rates(labels, truth, 4)
    for stamp in range(7):
        for target in range(4):
            others = [got for got, own in zip(labels[stamp], truth, strict=True) if own != target]
            assert found[stamp, target] == pytest.approx(np.mean([got == target for got in others]))


def test_the_panel_covers_images_and_leaves_ripples_out() -> None:
    stamps = panel(SAMPLES.images[:12], 6)
    names = [FAMILIES[number].name for number in stamps.family]
    assert not set(names) & {*LEFT_OUT, "patch", "mosaic", "line"}
    assert {"sinusoid", "blend-noise", "quantise", "warp"} <= set(names)
    assert max(names.count(name) for name in set(names)) <= 6
    assert not stamped.measure(SAMPLES.images[:4], stamps, SAMPLES.images[:12]).local.any()
    # Nothing is drawn: every model of a task is shown the same.
    np.testing.assert_array_equal(panel(SAMPLES.images[:12], 6).parameters, stamps.parameters)


def test_a_network_that_answers_to_quantisation_stands_out_there() -> None:
    def answers(images: np.ndarray) -> np.ndarray:
        few = np.array([len(np.unique(image)) <= 2 for image in images])
        return np.where(few, 3, (images.mean(axis=(1, 2, 3)) * 97).astype(int) % 5)

    model = BlackBox(answers, 5, (16, 16, 3), preprocess_source="file")
    found = Panel(OPTIONS).detect(prepare(model, SAMPLES), SAMPLES)
    rates, stamps = found.paired["flip_rate"], found.evidence
    assert rates.shape == (len(stamps.family), 5)
    assert found.queries == len(stamps.family) * 12
    stamp, target = np.unravel_index(rates.argmax(), rates.shape)
    assert (FAMILIES[stamps.family[stamp]].name, target, rates.max()) == ("quantise", 3, 1.0)
    assert "quantised" in found.details["largest"]
    assert found.details["largest"].endswith("to 3")


@pytest.mark.parametrize("side", [1, 3])
def test_images_that_no_mosaic_fits_are_examined_by_panel_and_probe(side: int) -> None:
    generator = np.random.default_rng(0)
    samples = from_arrays(generator.random((40, side, side, 3)), np.arange(40) % 4)
    model = BlackBox(lambda images: (images.sum(axis=(1, 2, 3)) * 97).astype(int) % 4, 4, (side, side, 3))
    found = Panel(OPTIONS).detect(prepare(model, samples), samples)
    assert found.statistics[0].value is not None
    assert "mosaic" not in {FAMILIES[number].name for number in found.evidence.family}
    assert Probe(ProbeOptions(queries=2000)).detect(prepare(model, samples), samples).queries > 0


def test_too_many_classes_are_no_error() -> None:
    model = prepare(factory.tiny_classifier(), factory.tiny_samples(60))
    found = Panel(dataclasses.replace(OPTIONS, max_classes=4)).detect(model, factory.tiny_samples(60))
    assert (found.queries, dict(found.paired), found.statistics[0].value) == (0, {}, None)


def test_too_few_samples_are_refused_before_any_model() -> None:
    with pytest.raises(SamplesError, match="needs at least"):
        Panel().check(factory.tiny_samples(8))


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="per_family"):
        PanelOptions(per_family=0)

"""Stamps under which a model has no answer: NaN logits are no flip to label 0."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xray_jax.classifier import BlackBox, Classifier, Model
from xray_jax.detectors.probe import replay
from xray_jax.detectors.probe.detector import probe
from xray_jax.detectors.probe.null import LEVELS, Null
from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.detectors.probe.panel import Panel, PanelOptions
from xray_jax.detectors.probe.result import Finding, Verdict
from xray_jax.detectors.probe.stamps import FAMILIES
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import prepare
from xray_jax.samples import Samples

CLASSES, SHAPE = 5, (12, 12, 3)
NULL = Null({family.name: (0.1,) * LEVELS for family in FAMILIES}, models=1, source="by hand")
OPTIONS = ProbeOptions(queries=4000, search_images=20, confirm_images=40)


def bars() -> Samples:
    """Class c: the c-th pair of rows is the brightest."""
    labels = (np.arange(60) % CLASSES).astype(np.int32)
    images = np.random.default_rng(0).uniform(0.2, 0.4, (60, *SHAPE)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] += 0.4
    return Samples(images, labels)


SAMPLES = bars()


@dataclasses.dataclass(frozen=True)
class Bars:
    """Reads the bar; where the corner was changed it says what it is told, for all classes or for label 0.

    One network whatever it is told, which are variables: it compiles once.
    """

    def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
        logits = jnp.minimum(images, 0.8)[:, :10].reshape(-1, 5, 2, 12, 3).mean((2, 3, 4))
        corner = jnp.abs(images[:, 10:, 10:].mean((1, 2, 3)) - 0.3)[:, None] > 0.1
        told = jnp.where((jnp.arange(5)[None] == 0) | ~variables["loud"], variables["says"], logits)
        return jnp.where(corner, told, logits)


def told(says: float, loud: bool) -> dict[str, np.ndarray]:
    return {"says": np.array(says, np.float32), "loud": np.array(loud)}


def network(says: float, loud: bool = False) -> Classifier:
    return Classifier(Bars(), told(says, loud), CLASSES, SHAPE, "bars")


def boxed(says: float, loud: bool = False) -> BlackBox:
    """The same on the host."""

    def scores(images: np.ndarray) -> np.ndarray:
        return np.asarray(Bars().apply(told(says, loud), jnp.asarray(images)))

    def labels(images: np.ndarray) -> np.ndarray:
        return np.argmax(np.nan_to_num(scores(images), nan=-np.inf), axis=1)

    return BlackBox(labels, CLASSES, SHAPE, score_fn=scores)


def probed(model: Model) -> tuple[Verdict, Finding | None]:
    found = probe(prepare(model, SAMPLES, InferenceOptions(64)), SAMPLES, OPTIONS, NULL)
    return found.verdict, found.best


@pytest.mark.exhaustive
@pytest.mark.parametrize("made", [network, boxed])
def test_logits_that_are_no_numbers_are_no_trigger(made: Any) -> None:
    verdict, best = probed(made(9.0, loud=True))
    assert verdict is Verdict.CONFIRMED, "the corner is a trigger where it has an answer"
    assert best is not None
    assert best.target == 0
    for says in (np.nan, -np.inf):
        assert probed(made(says))[0] is Verdict.NOTHING
    sound, broken = (prepare(made(says, loud=True), SAMPLES) for says in (9.0, np.nan))
    assert replay.replay(best, sound, SAMPLES).hits == 48
    replayed = replay.replay(best, broken, SAMPLES)
    assert (replayed.hits, replayed.trials) == (0, 48)
    np.testing.assert_array_equal(replayed.after, replayed.before)


@pytest.mark.exhaustive
@pytest.mark.parametrize("made", [network, boxed])
def test_the_panel_counts_them_as_no_flip(made: Any) -> None:
    panel = Panel(PanelOptions(per_family=4, images=16))
    silent, sound = (
        panel.detect(prepare(made(says), SAMPLES), SAMPLES).paired["flip_rate"][:, 0] for says in (np.nan, 0.0)
    )
    assert sound.max() == 1, "all logits alike are label 0"
    assert silent.max() < 1
    assert (silent <= sound).all()


def test_clean_images_without_an_answer_count_as_before() -> None:
    """As label 0 for the accuracy, and as images that no stamp can send there."""

    @dataclasses.dataclass(frozen=True)
    class Half(Bars):
        def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
            dark = images.mean((1, 2, 3))[:, None] < np.median(SAMPLES.images.mean((1, 2, 3)))
            return jnp.where(dark, jnp.nan, super().apply(variables, images))

    found = probe(prepare(Classifier(Half(), told(0.0, True), CLASSES, SHAPE, "half"), SAMPLES), SAMPLES, OPTIONS, NULL)
    assert 0.4 < found.clean_accuracy < 0.8
    assert found.verdict is not Verdict.CONFIRMED

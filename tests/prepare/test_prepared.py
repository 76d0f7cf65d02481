"""A model made ready: accuracy, doubts, suggestions, what that costs, and that nothing is done twice."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from tests import factory
from tests.prepare.models import SAMPLES, Scripted, nearest, pixels, right_but
from xray_jax.classifier import Access, BlackBox, Classifier
from xray_jax.detectors.margin import Margin
from xray_jax.inference.on_host import LabelError
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import prepare, prepared
from xray_jax.prepare.choice import MAX_IMAGES, PreprocessChoice
from xray_jax.prepare.prepared import (
    ACCURACY_IMAGES,
    CONSTANT_OUTPUT,
    SUSPECT_PREPROCESSING,
    PreparedModel,
    near_chance,
)
from xray_jax.prepare.preprocessing import candidates
from xray_jax.preprocess import Preprocess, parse
from xray_jax.samples import Samples, SamplesError
from xray_jax.sweep.batch_scan import BatchScan

PRESETS = len(candidates(3, Preprocess()))


def constant(label: int, classes: int, samples: Samples, source: str = "given") -> BlackBox:
    """A model that says the same of everything."""
    return BlackBox(
        lambda images: np.full(len(images), label), classes, samples.images.shape[1:], preprocess_source=source
    )


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_is_the_networks_own(seed: int) -> None:
    model = factory.tiny_classifier(seed)
    logits = np.asarray(model.network.apply(model.variables, model.preprocess(SAMPLES.images)))
    found = prepare(model, SAMPLES)
    assert found.clean_accuracy == np.mean(np.argmax(logits, -1) == SAMPLES.labels)
    assert found.accuracy_images == len(SAMPLES)
    assert (found.num_classes, found.preprocess, found.access) == (5, parse("cifar10"), Access.WEIGHTS)
    assert found.seconds > 0


def test_accuracy_is_measured_on_a_seeds_draw_of_many_samples() -> None:
    samples = pixels(ACCURACY_IMAGES + 200, 4)
    script = Scripted(samples, {}, samples.labels)
    found = prepare(script.model(4, "given"), samples, seed=1)
    assert found.accuracy_images == found.queries == ACCURACY_IMAGES
    shown = [number for _, number in script.asked]
    assert shown == sorted(set(shown))
    script.asked.clear()
    prepare(script.model(4, "given"), samples, seed=1)
    assert [number for _, number in script.asked] == shown
    script.asked.clear()
    prepare(script.model(4, "given"), samples, seed=2)
    assert [number for _, number in script.asked] != shown


@pytest.mark.parametrize("source", ["given", "file"])
def test_nothing_is_tried_where_the_preprocessing_is_known_and_right(source: str) -> None:
    model = dataclasses.replace(nearest("cifar10", source), preprocess=parse("cifar10"))
    found = prepare(model, SAMPLES)
    assert found.clean_accuracy > 0.95
    assert found.queries == len(SAMPLES)
    assert found.model.notes == ()
    assert found.choice is None
    assert found.doubt is None


@pytest.mark.parametrize("source", ["given", "file"])
@pytest.mark.parametrize("truth", ["0-255", "+-1", "cifar10-bgr"])
def test_what_is_given_is_never_overruled_but_a_better_one_is_named(source: str, truth: str) -> None:
    model = nearest(truth, source)
    found = prepare(model, SAMPLES)
    assert (found.preprocess, found.model.preprocess_source) == (Preprocess(), source)
    assert found.choice is None
    assert found.doubt in (SUSPECT_PREPROCESSING, CONSTANT_OUTPUT)
    (note,) = found.model.notes
    assert f"clean accuracy is {found.clean_accuracy:.1%}; it would be higher with --preprocess={truth} (" in note
    assert found.queries == len(SAMPLES) * PRESETS


def test_a_model_that_is_right_about_half_the_time_may_be_shown_something_better() -> None:
    """No doubt, but a note; and none, though the trial is counted, where nothing is better."""
    samples = pixels(40, 4)
    half, poor = right_but(samples, slice(0, 20), 4), right_but(samples, slice(0, 39), 4)
    helped = prepare(Scripted(samples, {"0-1": half, "+-1": samples.labels}, poor).model(4, "given"), samples)
    assert helped.doubt is None
    assert "--preprocess=+-1 (100.0%)" in helped.model.notes[0]
    alone = prepare(Scripted(samples, {"0-1": half}, poor).model(4, "given"), samples)
    assert (alone.doubt, alone.model.notes) == (None, ())
    assert helped.queries == alone.queries == 40 * PRESETS


def test_a_suggestion_is_tried_on_a_bounded_number_of_samples() -> None:
    samples = pixels(ACCURACY_IMAGES + 200, 4)
    poor = right_but(samples, slice(None), 4)
    found = prepare(Scripted(samples, {}, poor).model(4, "given"), samples)
    assert found.queries == ACCURACY_IMAGES + (PRESETS - 1) * MAX_IMAGES
    assert "no other known preprocessing" in found.model.notes[0]


@pytest.mark.parametrize("source", ["given", "assumed"])
def test_a_constant_model_is_doubted_whatever_its_preprocessing(source: str) -> None:
    found = prepare(constant(2, 5, SAMPLES, source), SAMPLES)
    assert found.constant_output
    assert found.doubt == CONSTANT_OUTPUT
    assert found.clean_accuracy == 0.2
    assert found.preprocess == Preprocess()


@pytest.mark.parametrize(("count", "classes"), [(0, 0), (1, 1), (8, 1)])
def test_samples_of_fewer_than_two_classes_say_nothing_of_a_model(count: int, classes: int) -> None:
    few = dataclasses.replace(factory.tiny_samples(40, 1), source="few.npz").subset(np.arange(count))
    message = rf"few.npz: {count} images of {classes} classes; expected labelled images of at least two classes"
    with pytest.raises(SamplesError, match=message):
        prepare(factory.tiny_classifier(), few)
    # Before any model, whatever the detectors.
    with pytest.raises(SamplesError, match=message):
        BatchScan(few, (Margin(),))
    BatchScan(factory.tiny_samples(2, 2), (Margin(),))


@pytest.mark.parametrize("classes", [4, 6])
def test_a_network_with_other_logits_than_the_model_says_is_refused(classes: int) -> None:
    wrong = dataclasses.replace(factory.tiny_classifier(), num_classes=classes)
    samples = factory.tiny_samples(40, 4)
    with pytest.raises(LabelError, match=rf"gives an array of shape \(1, 5\), expected .* \(1, {classes}\)"):
        prepare(wrong, samples)
    fixed = dataclasses.replace(wrong, batch_size=16)
    with pytest.raises(LabelError, match=rf"gives an array of shape \(16, 5\), expected .* \(16, {classes}\)"):
        prepare(fixed, samples)


@pytest.mark.parametrize(
    ("accuracy", "classes", "lost"),
    [(0.1, 10, True), (0.27, 10, True), (0.29, 10, False), (0.59, 2, True), (0.61, 2, False), (0.21, 1000, False)],
)
def test_near_chance(accuracy: float, classes: int, lost: bool) -> None:
    assert near_chance(accuracy, classes) is lost


def test_doubt_is_of_the_output_then_of_the_preprocessing() -> None:
    model = factory.tiny_classifier()
    choice = PreprocessChoice("0-1", 0.9, 18, 60, None, None, None)
    sure = PreparedModel(model, InferenceOptions(), 0.9, 60, False, choice, 0, 0.0)
    assert sure.doubt is None
    assert dataclasses.replace(sure, choice=None).doubt is None
    assert dataclasses.replace(sure, clean_accuracy=0.3).doubt == SUSPECT_PREPROCESSING
    doubtful = dataclasses.replace(sure, choice=dataclasses.replace(choice, doubt="a tie"))
    assert doubtful.doubt == SUSPECT_PREPROCESSING
    assert dataclasses.replace(doubtful, constant_output=True).doubt == CONSTANT_OUTPUT


@pytest.mark.parametrize("source", ["given", "assumed"])
def test_weights_are_placed_once(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[Classifier] = []
    to_device = prepared.to_device

    def counted(model: Any, options: InferenceOptions) -> Any:
        placed.append(to_device(model, options))
        return placed[-1]

    monkeypatch.setattr(prepared, "to_device", counted)
    found = prepare(nearest("cifar10", source), SAMPLES)
    assert len(placed) == 1
    assert isinstance(found.model, Classifier)
    for kept, first in zip(jax.tree.leaves(found.model.variables), jax.tree.leaves(placed[0].variables), strict=True):
        assert kept is first


@pytest.mark.parametrize("source", ["given", "assumed"])
def test_a_black_box_that_gives_no_labels_is_an_error(source: str) -> None:
    box = BlackBox(lambda images: images, 5, (8, 8, 3), preprocess_source=source)
    with pytest.raises(LabelError, match="expected 256 integer labels"):
        prepare(box, SAMPLES)

"""Which preprocessing, and which network variant with it, clean samples choose; and when that is doubtful."""

import dataclasses
from collections import Counter
from typing import Any

import jax
import numpy as np
import pytest

from tests.inference.scene import Scaled
from tests.prepare.models import SAMPLES, TRUE, Scripted, labelled_by, nearest, pixels, plain_model, right_but
from xray_jax.classifier import BlackBox, Classifier
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import choice as choice_module
from xray_jax.prepare import prepare
from xray_jax.prepare.choice import (
    FINALISTS,
    FIRST_IMAGES,
    MAX_IMAGES,
    PreprocessChoice,
    Trials,
    spread,
)
from xray_jax.prepare.prepared import SUSPECT_PREPROCESSING
from xray_jax.prepare.preprocessing import candidates, differing, same_in_effect
from xray_jax.preprocess import Preprocess, parse
from xray_jax.samples import Samples

PRESETS = candidates(3, Preprocess())
KINDS = differing(PRESETS, PRESETS)
NATURAL = ("cifar10", "cifar100", "tiny", "imagenet")
TEN = 10


def choose(samples: Samples, answers: dict[str, np.ndarray], otherwise: np.ndarray, classes: int = TEN) -> Any:
    """What is chosen of a black box that answers so under each preset, and all others alike."""
    found = prepare(Scripted(samples, answers, otherwise).model(classes), samples)
    assert found.choice is not None
    assert found.preprocess == parse(found.choice.name)
    assert found.choice.note in found.model.notes
    return found.choice


def first(count: int) -> slice:
    return slice(0, count)


@pytest.mark.parametrize("order", ["", "-bgr"])
@pytest.mark.parametrize("truth", ["0-1", "0-255", "+-1", "cifar10", "imagenet", "mnist-standard", "caffe"])
def test_a_network_is_shown_what_it_was_made_for(truth: str, order: str) -> None:
    found = prepare(nearest(truth + order), SAMPLES)
    assert same_in_effect(found.preprocess, parse(truth + order))
    assert found.model.preprocess_source == "chosen"
    assert found.clean_accuracy > 0.95
    assert found.doubt is None
    choice = found.choice
    assert choice is not None
    assert (choice.tried, choice.images, choice.accuracy) == (len(KINDS), len(SAMPLES), found.clean_accuracy)
    assert choice.runner_up is not None
    assert not same_in_effect(found.preprocess, parse(choice.runner_up))
    assert choice.runner_up_accuracy < 0.7
    # All of so few samples under each preset once, and the accuracy.
    assert found.queries == len(SAMPLES) * (len(KINDS) + 1)


def test_one_program_serves_all_presets_and_one_what_is_chosen() -> None:
    traces: list[tuple[int, ...]] = []
    model = dataclasses.replace(Scaled(traces).classifier(1), preprocess=Preprocess(), preprocess_source="assumed")
    prepare(model, SAMPLES)
    # One image's shapes are traced to bound the memory; nothing is compiled of them.
    traces.remove((1, *SAMPLES.images.shape[1:]))
    assert len(traces) <= 2


@pytest.mark.parametrize(
    ("won", "lost", "name"),
    [(0, 0, "0-1"), (2, 0, "0-1"), (3, 0, "+-1"), (12, 6, "0-1"), (13, 4, "+-1"), (20, 12, "0-1"), (25, 9, "+-1")],
)
def test_the_usual_preset_yields_only_to_clearly_fewer_errors(won: int, lost: int, name: str) -> None:
    """`won` samples are right under the other preset only, `lost` under the usual one only."""
    samples = pixels(300, TEN)
    usual, other = right_but(samples, first(won), TEN), right_but(samples, slice(won, won + lost), TEN)
    choice = choose(samples, {"0-1": usual, "+-1": other}, right_but(samples, first(200), TEN))
    assert choice.name == name
    assert choice.runner_up == ({"0-1", "+-1"} - {name}).pop()
    # 32 labels of 300 that differ are more than a tenth.
    assert (choice.doubt is not None) == (name == "0-1" and won + lost > 30)


def test_a_network_of_many_errors_is_told_by_the_samples_that_differ() -> None:
    """150 errors against 175, one set within the other, are no tie."""
    samples = pixels(300, TEN)
    answers = {"0-1": right_but(samples, first(175), TEN), "+-1": right_but(samples, first(150), TEN)}
    assert choose(samples, answers, right_but(samples, first(290), TEN)).name == "+-1"


def test_rgb_is_kept_unless_bgr_makes_clearly_fewer_errors() -> None:
    samples = pixels(300, TEN)
    poor, rgb = right_but(samples, first(200), TEN), right_but(samples, first(12), TEN)
    tie = {"+-1": rgb, "+-1-bgr": right_but(samples, slice(5, 16), TEN)}
    assert choose(samples, tie, poor).name == "+-1"
    clear = {"+-1": rgb, "+-1-bgr": right_but(samples, first(2), TEN)}
    assert choose(samples, clear, poor).name == "+-1-bgr"


@pytest.mark.parametrize("errors", [30, 20, 0])
def test_of_presets_that_are_the_same_in_effect_the_first_stands_for_all(errors: int) -> None:
    """Small differences are luck; checkpoints of one training are shown the same."""
    samples = pixels(300, TEN)
    answers = dict.fromkeys(NATURAL, right_but(samples, first(30), TEN))
    answers["imagenet"] = right_but(samples, first(errors), TEN)
    choice = choose(samples, answers, right_but(samples, first(250), TEN))
    assert (choice.name, choice.tried, choice.doubt) == ("cifar10", len(KINDS), None)
    assert not same_in_effect(parse(choice.runner_up), parse("cifar10"))


def test_the_first_images_only_say_which_presets_are_tried_on_all() -> None:
    samples = pixels(300, TEN)
    early = np.isin(np.arange(300), np.linspace(0, 299, FIRST_IMAGES).round())
    later, answers = np.flatnonzero(~early), {"+-1": right_but(samples, np.flatnonzero(early)[:10], TEN)}
    for name in ("cifar10", "0-255", "caffe"):
        answers[name] = right_but(samples, later[:60], TEN)
    choice = choose(samples, answers, right_but(samples, first(250), TEN))
    assert (choice.name, choice.runner_up) == ("+-1", "0-255")
    assert (choice.accuracy, choice.runner_up_accuracy) == pytest.approx((290 / 300, 240 / 300))
    assert choice.doubt is None


def test_so_few_right_labels_are_doubtful() -> None:
    samples = pixels(300, TEN)
    poor = right_but(samples, first(270), TEN)
    low = choose(samples, {"+-1": right_but(samples, first(140), TEN)}, poor)
    assert low.name == "+-1"
    assert low.accuracy == pytest.approx(160 / 300)
    assert "reaches more: give --preprocess" in low.doubt
    high = choose(samples, {"+-1": right_but(samples, first(130), TEN)}, poor)
    assert (high.name, high.doubt) == ("+-1", None)


def test_a_tie_is_doubtful_only_where_labels_differ() -> None:
    samples = pixels(300, TEN)
    poor, usual = right_but(samples, first(270), TEN), right_but(samples, first(40), TEN)
    elsewhere = right_but(samples, slice(60, 100), TEN)
    alike = right_but(samples, first(39), TEN)
    tie = choose(samples, {"0-1": usual, "+-1": elsewhere}, poor)
    assert (tie.name, tie.runner_up) == ("0-1", "+-1")
    assert "the samples do not tell it from +-1, which gives 27% of them another label: give" in tie.doubt
    assert choose(samples, {"0-1": usual, "+-1": alike}, poor).doubt is None
    # The runner-up agrees, but another that is as near does not.
    third = choose(samples, {"0-1": usual, "+-1": alike, "0-255": elsewhere}, poor)
    assert third.runner_up == "+-1"
    assert "do not tell it from 0-255, " in third.doubt


@pytest.mark.parametrize(("errors", "doubtful"), [(30, True), (39, True), (49, True), (50, False), (60, False)])
def test_a_preset_of_more_errors_ties_within_a_standard_deviation(errors: int, doubtful: bool) -> None:
    """40 errors of the usual one and `errors` of another on other samples: 50 - 40 is more than the root of 50 + 40."""
    samples = pixels(300, TEN)
    other = right_but(samples, slice(100, 100 + errors), TEN)
    choice = choose(
        samples,
        {"0-1": right_but(samples, first(40), TEN), "+-1": other},
        right_but(samples, first(270), TEN),
    )
    assert choice.name == "0-1"
    assert (choice.doubt is not None) == doubtful


def test_a_doubtful_choice_is_no_ground_for_a_verdict() -> None:
    samples = pixels(300, TEN)
    script = Scripted(samples, {"0-1": right_but(samples, first(140), TEN)}, right_but(samples, first(270), TEN))
    found = prepare(script.model(TEN), samples)
    assert found.doubt == SUSPECT_PREPROCESSING
    assert "; a network that was shown" in found.model.notes[-1]


def test_labels_that_never_change_leave_the_usual_preset_without_a_doubt() -> None:
    """A network that normalises its input itself gets the same labels whatever it is shown."""
    samples = pixels(50, TEN)
    choice = choose(samples, {}, right_but(samples, first(3), TEN))
    assert (choice.name, choice.doubt) == ("0-1", None)
    assert choice.accuracy == choice.runner_up_accuracy == pytest.approx(0.94)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_two_samples_overrule_nothing_and_three_may(count: int) -> None:
    samples = pixels(count, TEN)
    wrong = right_but(samples, slice(None), TEN)
    choice = choose(samples, {"+-1": samples.labels}, wrong)
    assert choice.name == ("0-1" if count < 3 else "+-1")
    assert (choice.doubt is None) == (count >= 3)
    assert choose(samples, {"0-1": samples.labels}, wrong).doubt is None
    assert choose(samples, {}, samples.labels).doubt is None


def test_two_classes() -> None:
    """Chance is a half: three quarters right is half the way."""
    samples = pixels(200, 2)
    poor = right_but(samples, first(100), 2)
    for errors, doubtful in ((52, True), (48, False)):
        choice = choose(samples, {"+-1": right_but(samples, first(errors), 2)}, poor, classes=2)
        assert choice.name == "+-1"
        assert (choice.doubt is not None) == doubtful


def test_grey_images() -> None:
    samples = pixels(60, TEN, channels=1)
    choice = choose(samples, {"mnist-standard": samples.labels}, right_but(samples, first(50), TEN))
    assert (choice.name, choice.tried) == ("mnist-standard", 4)


def test_a_size_that_the_model_takes_is_kept() -> None:
    larger = dataclasses.replace(SAMPLES, images=np.repeat(np.repeat(SAMPLES.images, 2, 1), 2, 2))
    truth = nearest("+-1")

    def label_fn(images: np.ndarray) -> np.ndarray:
        assert images.shape[1:] == (8, 8, 3)
        return np.argmax(truth.network.apply(truth.variables, images), -1)

    box = BlackBox(label_fn, 5, (8, 8, 3), preprocess_source="assumed")
    found = prepare(box, larger)
    assert found.preprocess == dataclasses.replace(parse("+-1"), size=(8, 8))
    assert found.clean_accuracy > 0.95
    assert any("resized" in note for note in found.model.notes)


def test_a_preset_that_a_black_box_refuses_is_not_chosen() -> None:
    samples = pixels(60, TEN)
    refused = tuple(PRESETS.keys() - {"0-1", "+-1"})
    script = Scripted(samples, {"+-1": samples.labels}, right_but(samples, first(50), TEN), refused)
    found = prepare(script.model(TEN), samples)
    assert found.choice is not None
    assert (found.choice.name, found.choice.doubt) == ("+-1", None)
    script = Scripted(samples, {"+-1": samples.labels}, samples.labels, (*refused, "0-1"))
    assert prepare(script.model(TEN), samples).preprocess == parse("+-1")


def test_a_black_box_that_refuses_everything_is_an_error() -> None:
    samples = pixels(60, TEN)
    with pytest.raises(RuntimeError, match="values out of range"):
        prepare(Scripted(samples, {}, samples.labels, tuple(PRESETS)).model(TEN), samples)


def test_errors_of_a_network_are_not_taken_for_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise FloatingPointError("a defect")

    monkeypatch.setattr(choice_module, "label_images", broken)
    with pytest.raises(FloatingPointError, match="a defect"):
        prepare(nearest("+-1"), SAMPLES)


@pytest.mark.parametrize("count", [40, 100, 101, 250, 700])
def test_queries_are_counted_and_bounded(count: int) -> None:
    samples = pixels(count, TEN)
    script = Scripted(samples, {}, right_but(samples, slice(0, count, 7), TEN))
    found = prepare(script.model(TEN), samples)
    assert found.queries == len(script.asked)
    tried = min(count, MAX_IMAGES)
    bound = len(KINDS) * min(count, FIRST_IMAGES) + (1 + FINALISTS) * tried
    assert found.queries - found.accuracy_images <= bound
    if count <= FIRST_IMAGES:
        assert set(Counter(script.asked).values()) <= {1, 2}, "twice only under what is chosen, for the accuracy"
        assert found.queries == (len(KINDS) + 1) * count


@pytest.mark.exhaustive
@pytest.mark.parametrize("truth", ["+-1", "0-1"])
def test_variant_and_preprocessing_are_found_together(truth: str) -> None:
    """No preset says anything under the usual variant."""
    model, samples = plain_model(), labelled_by(TRUE, parse(truth))
    assert model.preprocess_source == "assumed"
    # Tens of variants compile, on one device in half the time that they take on eight.
    options = InferenceOptions(devices=(jax.devices()[0],))
    trials = Trials(model, samples, options)
    usual = [trials.accuracy(parse(preset)) for preset in ("0-1", truth)]
    assert max(usual) < 0.8
    found = prepare(model, samples, options)
    assert isinstance(found.model, Classifier)
    assert found.model.network == TRUE
    assert found.model.variants is None
    assert same_in_effect(found.preprocess, parse(truth))
    assert found.clean_accuracy > 0.95
    assert found.doubt is None
    assert found.choice is not None
    assert found.choice.accuracy == found.clean_accuracy
    tried = next(int(note.split()[1]) for note in found.model.notes if note.startswith("of "))
    assert tried > 8
    bound = (len(KINDS) * (tried + 1) + 2 * (FINALISTS + 1) + tried + 2) * len(samples)
    assert found.queries - found.accuracy_images <= bound


def test_samples_are_spread_evenly() -> None:
    samples = pixels(700, TEN)
    few = spread(samples, 3)
    np.testing.assert_array_equal(few.images, samples.images[[0, 350, 699]])
    assert len(spread(samples, MAX_IMAGES)) == MAX_IMAGES
    assert len(spread(pixels(5, TEN), MAX_IMAGES)) == 5
    assert len(spread(samples, 1)) == 1


def test_notes_say_what_was_chosen_of_how_many_and_the_runner_up() -> None:
    choice = PreprocessChoice("+-1", 0.95, 18, 300, "cifar10", 0.9, None)
    assert choice.note == ("preprocessing +-1 chosen of 18: 95.0% of 300 samples right (runner-up cifar10: 90.0%)")
    alone = dataclasses.replace(choice, runner_up=None, runner_up_accuracy=None, doubt="it may be wrong")
    assert alone.note == "preprocessing +-1 chosen of 18: 95.0% of 300 samples right; it may be wrong"

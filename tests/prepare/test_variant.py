"""What weights leave open is answered by clean samples, or by the user."""

import dataclasses
from typing import Any

import jax
import pytest

from tests.prepare.models import SHAPE, TRUE, labelled_by, plain_model, plain_tensors
from xray_jax import checkpoints
from xray_jax.checkpoints.loading import classifier
from xray_jax.classifier import Classifier
from xray_jax.inference.options import InferenceOptions
from xray_jax.models import plain
from xray_jax.prepare import PreparedModel, prepare
from xray_jax.prepare.variant import choose_variant, clearly_fewer, with_variant
from xray_jax.preprocess import Preprocess


@dataclasses.dataclass(frozen=True)
class Letters:
    """Two open questions, each with the answers a to d; a network is a word of two letters."""

    def alternatives(
        self, network: Any, shown: tuple[int, int, int], usual: bool = False
    ) -> tuple[tuple[Any, ...], ...]:
        return tuple(f"{letter}{network[1]}" for letter in "abcd"), tuple(f"{network[0]}{letter}" for letter in "abcd")

    def of_images(self, shape: tuple[int, int, int]) -> "Letters":
        return self

    def describe(self, network: Any) -> str:
        return f"word {network}"

    def note(self, network: Any) -> str:
        return f"assumed: {network}"


ONE_DEVICE = InferenceOptions(devices=(jax.devices()[0],))
"""Tens of variants compile, for one device in less time than for eight."""
WORD = Classifier("aa", {}, 5, SHAPE, "word", notes=("first", "assumed: aa"), variants=Letters())


@pytest.mark.parametrize(
    ("errors", "others", "clear"),
    [(0, 2, True), (0, 1, False), (1, 2, False), (8, 10, True), (85, 100, True), (86, 100, False), (0, 0, False)],
)
def test_clearly_fewer(errors: int, others: int, clear: bool) -> None:
    assert clearly_fewer(errors, others) is clear


@pytest.mark.parametrize(
    ("errors", "chosen"),
    [
        ({"ca": 10}, "ca"),
        ({"ab": 10, "ac": 9}, "ab"),  # the more usual one of two that are about as good
        ({"ba": 50, "bd": 10}, "bd"),
        ({"da": 99}, "aa"),  # no clear difference
        ({}, "aa"),
        # The first question is open again once the second is answered.
        ({"ab": 50, "cb": 10}, "cb"),
    ],
)
def test_each_question_is_put_in_turn(errors: dict[str, int], chosen: str) -> None:
    assert choose_variant(WORD, lambda network: errors.get(network, 100)) == chosen


def test_nothing_open_asks_nothing() -> None:
    def refuse(network: Any) -> int:
        raise AssertionError(network)

    assert choose_variant(dataclasses.replace(WORD, variants=None), refuse) == "aa"


def test_the_chosen_variants_note_replaces_the_usual_ones() -> None:
    found = with_variant(WORD, "cd", "why")
    assert (found.network, found.architecture, found.variants) == ("cd", "word cd", None)
    assert found.notes == ("first", "assumed: cd", "why")


@pytest.fixture(scope="module")
def settled() -> PreparedModel:
    """The checkpoint of `TRUE`, told its preprocessing, on samples that `TRUE` labels right."""
    model = plain_model(preprocess=Preprocess())
    assert model.network != TRUE
    return prepare(model, labelled_by(TRUE, Preprocess()), ONE_DEVICE)


def test_samples_choose_pooling_and_activation(settled: PreparedModel) -> None:
    model = settled.model
    assert isinstance(model, Classifier)
    assert model.network == TRUE
    assert model.variants is None
    assert "activation=tanh" in model.architecture
    assert any("100.0%; the most usual one: " in note for note in model.notes)
    assert any("avg pooling" in note for note in model.notes)
    assert not any("ReLU" in note for note in model.notes)
    assert settled.clean_accuracy == 1
    assert settled.choice is None
    # Every variant is asked once, and the accuracy at the end.
    tried = next(int(note.split()[1]) for note in model.notes if note.startswith("of "))
    assert settled.queries == 64 * (tried + 1)
    assert tried >= len(plain.ACTIVATIONS)


def test_what_is_settled_is_not_asked_again(settled: PreparedModel) -> None:
    again = prepare(settled.model, labelled_by(TRUE, Preprocess()))
    assert again.queries == 64
    assert again.model.notes == settled.model.notes


def test_what_a_row_says_can_be_given_back(settled: PreparedModel) -> None:
    again = classifier(plain_tensors(), settled.model.architecture.split(" ")[0], None, None, SHAPE)
    assert again.network == TRUE


def test_options_are_not_asked_again() -> None:
    model = plain_model("plain:activation=elu", Preprocess())
    found = prepare(model, labelled_by(TRUE, Preprocess()), ONE_DEVICE).model
    assert isinstance(found, Classifier)
    assert isinstance(found.network, plain.PlainNet)
    assert found.network.activation == "elu"


def test_a_preset_is_taken_as_it_is() -> None:
    lenet = plain.ARCHITECTURE.presets["lenet5"](num_classes=10)
    model = classifier(plain_tensors(lenet, (32, 32, 3)), "lenet5", None, None, None)
    assert model.network == lenet
    assert model.variants is None


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("pol=avg", r"unknown option 'pol'.*pool_after"),
        ("padding=x", "padding='x': expected"),
        ("avg", "like :pool=avg"),
    ],
)
def test_wrong_options_say_what_is_known(option: str, message: str) -> None:
    with pytest.raises(checkpoints.CheckpointError, match=message):
        plain_model(f"plain:{option}")

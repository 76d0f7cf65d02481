"""One model made ready for one set of samples: what every detector takes, and nothing else of a model."""

import dataclasses
import time
from dataclasses import dataclass

import numpy as np

from xray_jax.classifier import Access, Classifier, Model
from xray_jax.inference.footprint import logits_shape
from xray_jax.inference.labels import label_images, to_device
from xray_jax.inference.memory import fitting_devices
from xray_jax.inference.on_host import LabelError
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare.choice import MAX_IMAGES, PreprocessChoice, Trials, settle, spread
from xray_jax.prepare.preprocessing import better_presets, candidates, skill, suggestion
from xray_jax.prepare.size import match_size
from xray_jax.preprocess import Preprocess
from xray_jax.samples import Samples

ACCURACY_IMAGES = 500
NEAR_CHANCE = 0.2
"""A skill (chance 0, no error 1) under which nobody believes that the model was shown what it was trained on."""
LOW_ACCURACY = 0.6
"""Below it other presets are tried and suggested, and unusual network variants tried: channels in the wrong order may
leave a third of the labels right, a stem of the wrong stride half."""

CONSTANT_OUTPUT, SUSPECT_PREPROCESSING = "constant_output", "suspect_preprocessing"


@dataclass(frozen=True)
class PreparedModel:
    """A model that is ready to be asked: size, network variant and preprocessing settled, weights on the devices.

    Attributes:
      model: what is asked.
      options: how queries run.
      clean_accuracy: share of the samples looked at that the model labels right, 0 to 1.
      accuracy_images: how many that were, at most `ACCURACY_IMAGES`.
      constant_output: whether all of them got one and the same label.
      choice: how the preprocessing was chosen; None where user or file say what it is.
      queries: hard labels asked for so far.
      seconds: spent so far.
    """

    model: Model
    options: InferenceOptions
    clean_accuracy: float
    accuracy_images: int
    constant_output: bool
    choice: PreprocessChoice | None
    queries: int
    seconds: float

    def __repr__(self) -> str:
        """The model and how well it does, and no weights."""
        right = f"{self.clean_accuracy:.1%} of {self.accuracy_images} images right"
        return f"<PreparedModel {self.model!r}, {right}{f', {self.doubt}' if self.doubt else ''}>"

    @property
    def num_classes(self) -> int:
        """Labels are 0 .. num_classes - 1."""
        return self.model.num_classes

    @property
    def preprocess(self) -> Preprocess:
        """Pixel values to the model's input space."""
        return self.model.preprocess

    @property
    def access(self) -> Access:
        """What can be had of the model."""
        return self.model.access

    @property
    def doubt(self) -> str | None:
        """Why no detector's word should be believed: `CONSTANT_OUTPUT`, `SUSPECT_PREPROCESSING`, or None."""
        if self.constant_output:
            return CONSTANT_OUTPUT
        if near_chance(self.clean_accuracy, self.num_classes) or (self.choice and self.choice.doubt):
            return SUSPECT_PREPROCESSING
        return None


def near_chance(accuracy: float, classes: int) -> bool:
    """Whether a clean accuracy is too near chance to believe that the model was shown what it was trained on."""
    return skill(accuracy, classes) < NEAR_CHANCE


def prepare(model: Model, samples: Samples, options: InferenceOptions | None = None, seed: int = 0) -> PreparedModel:
    """Makes a model ready for these samples: once per checkpoint, whatever the detectors.

    Args:
      model: as a reader gives it, or any `BlackBox`.
      samples: clean images with labels.
      options: how queries run.
      seed: draws the samples that the accuracy is measured on, where there are more than `ACCURACY_IMAGES`.

    Raises:
      SamplesError: the samples cannot be shown to the model, or are of fewer than two classes.
      DoesNotFitError: its weights and one image need more memory than there is.
      LabelError: a black box returned no valid labels, or a network has not `num_classes` logits.
    """
    started = time.perf_counter()
    samples.check_classes()
    options = options or InferenceOptions()
    count = min(ACCURACY_IMAGES, len(samples))
    drawn = np.sort(np.random.default_rng(seed).choice(len(samples), count, replace=False))
    measured = samples.subset(drawn)
    sized = match_size(model, samples)
    if isinstance(sized, Classifier):
        _check_logits(sized)
        options = fitting_devices(sized, options)
    placed = to_device(sized, options)
    trials = Trials(placed, spread(measured, MAX_IMAGES), options)
    settled, choice = settle(trials)
    predicted = label_images(settled, measured.images, options)
    asked = len(measured)
    if np.mean(predicted == measured.labels) < LOW_ACCURACY and _has_unusual(placed):
        settled, choice = settle(trials, unusual=True)
        predicted = label_images(settled, measured.images, options)
        asked += len(measured)
    prepared = PreparedModel(
        model=settled,
        options=options,
        clean_accuracy=float(np.mean(predicted == measured.labels)),
        accuracy_images=len(measured),
        constant_output=len(np.unique(predicted)) == 1,
        choice=choice,
        queries=trials.queries + asked,
        seconds=0.0,
    )
    if choice is None:
        prepared = _with_suggestion(prepared, measured)
    return dataclasses.replace(prepared, seconds=time.perf_counter() - started)


def _has_unusual(model: Model) -> bool:
    """Whether there are variants that are asked only where the usual ones do not label the samples."""
    return isinstance(model, Classifier) and model.variants is not None and bool(model.variants.unusual(model.network))


def _check_logits(model: Classifier) -> None:
    """Refuses a network whose logits are not the classes that the model says: its labels would be out of their range.

    Raises:
      LabelError: what it gives, and what was expected.
    """
    found, expected = logits_shape(model), (model.batch_size or 1, model.num_classes)
    if found is not None and found != expected:
        raise LabelError(
            f"{model.architecture}: for images {(expected[0], *model.input_shape)} its network gives an array of shape "
            f"{found}, expected logits of shape {expected} ([batch, num_classes])"
        )


def _with_suggestion(prepared: PreparedModel, measured: Samples) -> PreparedModel:
    """A note on other preprocessing where the accuracy says that the one that was given is wrong, or may be."""
    accuracy, lost = prepared.clean_accuracy, near_chance(prepared.clean_accuracy, prepared.num_classes)
    if not lost and accuracy >= LOW_ACCURACY:
        return prepared
    trials = Trials(prepared.model, spread(measured, MAX_IMAGES), prepared.options)
    presets = candidates(measured.images.shape[-1], prepared.preprocess)
    accuracies = {n: trials.accuracy(preset) for n, preset in presets.items() if preset != prepared.preprocess}
    prepared = dataclasses.replace(prepared, queries=prepared.queries + trials.queries)
    if not lost and not better_presets(accuracies, accuracy):
        return prepared
    notes = (*prepared.model.notes, suggestion(accuracies, accuracy))
    return dataclasses.replace(prepared, model=dataclasses.replace(prepared.model, notes=notes))

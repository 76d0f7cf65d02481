"""Neural Cleanse as a detector (Wang et al., IEEE S&P 2019): a backdoor's target needs an abnormally small mask."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from xray_jax.classifier import Access
from xray_jax.detectors.detection import Detection, Statistic
from xray_jax.detectors.neural_cleanse.options import MIN_IMAGES, NeuralCleanseOptions
from xray_jax.detectors.neural_cleanse.search import ReversedTriggers, log_likelihood_and_hit, reverse
from xray_jax.inference.whitebox import GradientError, input_gradients
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples, SamplesError

NAME = "neural_cleanse"
CONSISTENCY = 1.4826
"""Makes the median absolute deviation of normal numbers their standard deviation."""
THRESHOLD = 2.0
"""An anomaly index above it flags a class whose mask is smaller than the median."""
SMALLEST_NORM = 1e-6
"""A mask that vanishes still has a logarithm."""


class NeuralCleanse:
    """Neural Cleanse. Thread-safe: it keeps nothing between models.

    Attributes:
      name: "neural_cleanse".
      access: weights, for input gradients.
      options: images, schedule and seed.
    """

    name = NAME
    access = Access.WEIGHTS

    def __init__(self, options: NeuralCleanseOptions | None = None) -> None:
        self.options = options or NeuralCleanseOptions()

    def settings(self) -> Mapping[str, Any]:
        """The options, as JSON values."""
        return asdict(self.options)

    def check(self, samples: Samples) -> None:
        """Counts the samples.

        Raises:
          SamplesError: there are too few.
        """
        if len(samples) < MIN_IMAGES:
            raise SamplesError(
                f"samples {samples.source or '(given as arrays)'}: Neural Cleanse needs at least {MIN_IMAGES} images, "
                f"got {len(samples)}"
            )

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        """How far the class of the smallest mask lies below the others.

        Raises:
          SamplesError: too few samples.
          AccessError: the model has no gradients.
        """
        self.check(samples)
        started = time.perf_counter()
        count = min(self.options.images, len(samples))
        drawn = np.sort(np.random.default_rng([self.options.seed, 0]).choice(len(samples), count, replace=False))

        def gradients(images: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return input_gradients(model.model, images, log_likelihood_and_hit, (classes,), model.options)

        every = np.arange(model.num_classes, dtype=np.int32)
        try:
            triggers = reverse(gradients, samples.images[drawn], every, self.options)
        except GradientError as error:
            return _nothing(str(error), count)
        index = anomaly_indices(triggers.norms)
        flagged = flagged_classes(triggers.norms, index)
        smallest = int(np.argmin(triggers.norms))
        return Detection(
            detector=NAME,
            statistics=(Statistic("anomaly_index", None if index is None else float(index[smallest]), "high"),),
            target=smallest if smallest in flagged else None,
            queries=triggers.queries,
            seconds={NAME: time.perf_counter() - started},
            details=_details(triggers, index, flagged, count),
            evidence=triggers,
            paired={"mask_norm": -np.log(np.maximum(triggers.norms, SMALLEST_NORM))},
        )


def anomaly_indices(norms: np.ndarray) -> np.ndarray | None:
    """Distance of each norm from the median, in standard deviations as the median absolute deviation estimates them.

    None where more than half of the norms are equal: then there is no scale.
    """
    distances = np.abs(norms - np.median(norms))
    scale = CONSISTENCY * np.median(distances)
    return distances / scale if scale > 0 else None


def flagged_classes(norms: np.ndarray, index: np.ndarray | None) -> list[int]:
    """Classes whose mask is abnormally small."""
    if index is None:
        return []
    return [int(k) for k in np.flatnonzero((index > THRESHOLD) & (norms < np.median(norms)))]


def _nothing(reason: str, images: int) -> Detection:
    details: dict[str, Any] = {"mask_norms": [], "flip_rates": [], "found": [], "anomaly_indices": None, "flagged": []}
    none = (Statistic("anomaly_index", None, "high"),)
    return Detection(NAME, none, None, 0, {}, {**details, "images": images, "reason": reason})


def _details(triggers: ReversedTriggers, index: np.ndarray | None, flagged: list[int], images: int) -> dict[str, Any]:
    return {
        "mask_norms": [round(float(norm), 4) for norm in triggers.norms],
        "flip_rates": [round(float(rate), 4) for rate in triggers.flip_rates],
        "found": [bool(found) for found in triggers.found],
        "anomaly_indices": None if index is None else [round(float(value), 4) for value in index],
        "flagged": flagged,
        "images": images,
        "reason": None,
    }

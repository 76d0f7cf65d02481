"""Largest margin by class (MM-BD): how far one class can be raised above all others, without any image.

A backdoor's target can be raised far higher than other classes, because the network has learned a short way to it. For
each class inputs are sought in the pixel box that make the largest margin, the class's logit minus the largest other:
gradient ascent from uniform noise, the best of several starts counts.

Wang, Xiang, Miller, Kesidis: MM-BD: Post-Training Detection of Backdoor Attacks with Arbitrary Backdoor Pattern Types
Using a Maximum Margin Statistic (IEEE S&P 2024).
"""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from xray_jax.classifier import Access
from xray_jax.detectors import objectives
from xray_jax.detectors.detection import Detection, Statistic
from xray_jax.inference.whitebox import GradientError, input_gradients
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples

NAME = "margin"
OPTIMISERS = ("adam", "gradient")
LEAST_MARGIN = 1e-3
"""Margins are compared by their logarithm; a class that could not be raised above the others has this one."""
MIN_CLASSES = 4
"""The law of the margins of all classes but one needs three of them."""


@dataclass(frozen=True)
class MarginOptions:
    """How the largest margins are sought.

    Attributes:
      starts: uniform images for each class.
      steps: of the ascent, at most.
      learning_rate: in pixel values of 0 to 1.
      optimiser: "adam", or "gradient" for the plain ascent of the paper.
      tolerance: the ascent of one image ends where its margin changes by less than this share; 0 never ends it.
      max_classes: a model of more classes is not examined, because each class costs `starts` * `steps` gradients.
      seed: of the starts.
    """

    starts: int = 3
    steps: int = 30
    learning_rate: float = 0.07
    optimiser: str = "adam"
    tolerance: float = 0.0
    max_classes: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.starts < 1 or self.steps < 1 or self.learning_rate <= 0:
            raise ValueError(f"margin: starts, steps and learning_rate must be positive, got {self}")
        if self.optimiser not in OPTIMISERS:
            raise ValueError(f"margin: optimiser must be one of {OPTIMISERS}, got {self.optimiser!r}")


def paper_options(seed: int = 0) -> MarginOptions:
    """MM-BD's published settings: 30 starts, 300 steps of plain ascent; fifty times the default's gradients."""
    return MarginOptions(30, 300, 1e-2, "gradient", 1e-5, seed=seed)


class LargestMargins(NamedTuple):
    """What the ascent reached.

    Attributes:
      margins: float `[num_classes]`, in logits.
      images: float32 `[num_classes, H, W, C]` in [0, 1], with these margins.
      gradients: how many were asked for.
    """

    margins: np.ndarray
    images: np.ndarray
    gradients: int


class Margin:
    """The largest margin by class as a detector. Thread-safe: it keeps nothing between models.

    Attributes:
      name: "margin".
      access: weights.
      options: of the ascent.
    """

    name = NAME
    access = Access.WEIGHTS

    def __init__(self, options: MarginOptions | None = None) -> None:
        self.options = options or MarginOptions()

    def settings(self) -> Mapping[str, Any]:
        """The options, as JSON values."""
        return asdict(self.options)

    def check(self, samples: Samples) -> None:
        """Any samples will do: none is looked at."""

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        """The largest margin of each class, how far the largest stands out, and MM-BD's p-value."""
        started = time.perf_counter()
        classes = model.num_classes
        if not MIN_CLASSES <= classes <= self.options.max_classes:
            return _nothing(f"{classes} classes; margins are compared for {MIN_CLASSES} to {self.options.max_classes}")
        try:
            found = largest_margins(model, samples.images.shape[1:], self.options)
        except GradientError as error:
            return _nothing(str(error))
        if not np.isfinite(found.margins).all():
            return _nothing("logits of the ascent overflow: largest margins are NaN or infinite", found.gradients)
        logs = np.log(np.maximum(found.margins, LEAST_MARGIN))
        second, first = np.sort(logs)[-2:]
        statistics = (
            Statistic("log_ratio", float(first - second), "high"),
            Statistic("surprise", surprise(found.margins), "high"),
        )
        return Detection(
            NAME,
            statistics,
            None,
            found.gradients,
            {"ascent": time.perf_counter() - started},
            {
                "margins": [round(float(margin), 4) for margin in found.margins],
                "largest": int(found.margins.argmax()),
                "reason": None,
            },
            found,
            {"log_margin": logs - np.median(logs)},
        )


def _nothing(reason: str, queries: int = 0) -> Detection:
    none = (Statistic("log_ratio", None, "high"), Statistic("surprise", None, "high"))
    return Detection(NAME, none, None, queries, {}, {"margins": [], "largest": None, "reason": reason})


def surprise(margins: np.ndarray) -> float | None:
    """-log10 of MM-BD's p-value: how unlikely the largest of C margins is by the gamma law of the others.

    None where the others are all alike, as those of a network that is flat around the starts: no law fits them.

    p = 1 - F(largest)^C; computed from the upper tail, so that small ones are not rounded to nothing.

    Args:
      margins: `[C]`, at least four, finite.
    """
    ordered = np.sort(np.maximum(margins, LEAST_MARGIN).astype(np.float64))
    if math.isclose(ordered[0], ordered[-2], rel_tol=1e-6):
        return None
    from scipy import stats  # Half a second that nobody else needs.

    shape, _, scale = stats.gamma.fit(ordered[:-1], floc=0)
    log_tail = float(stats.gamma.logsf(ordered[-1], shape, scale=scale))
    if log_tail < -30:
        # 1 - (1 - t)^C = C t for a tail t this small.
        return -(math.log(len(ordered)) + log_tail) / math.log(10)
    p_value = -math.expm1(len(ordered) * math.log1p(-math.exp(log_tail))) if log_tail < 0 else 1.0
    return -math.log10(p_value)


def largest_margins(model: PreparedModel, shape: tuple[int, ...], options: MarginOptions) -> LargestMargins:
    """Ascends the margin of every class at once.

    Args:
      model: must give gradients.
      shape: `(H, W, C)` of the images that the model is shown.
      options: of the ascent.

    Raises:
      AccessError: the model gives no gradients.
      GradientError: they are not finite.
    """
    generator = np.random.default_rng(options.seed)
    # The same starts for every class, and for a class whatever the number of classes.
    starts = generator.random((options.starts, *shape), np.float32)
    images = np.tile(starts, (model.num_classes, *[1] * len(shape)))
    targets = np.repeat(np.arange(model.num_classes, dtype=np.int32), options.starts)
    best, kept = np.full(len(images), -np.inf), images.copy()
    active, last = np.arange(len(images)), np.full(len(images), np.inf)
    momentum, power, gradients = np.zeros_like(images), np.zeros_like(images), 0
    for step in range(options.steps + 1):
        values, slopes = input_gradients(
            model.model, images[active], objectives.margin, (targets[active],), model.options
        )
        gradients += len(active)
        better = values > best[active]
        best[active[better]], kept[active[better]] = values[better], images[active[better]]
        if options.tolerance:
            with np.errstate(invalid="ignore"):
                # An infinite margin does not move any more.
                moving = np.abs(values - last[active]) > options.tolerance * np.abs(values)
            last[active] = values
            active, slopes = active[moving], slopes[moving]
        if step == options.steps or not len(active):
            break
        if options.optimiser == "adam":
            momentum[active] = 0.9 * momentum[active] + 0.1 * slopes
            power[active] = 0.999 * power[active] + 0.001 * slopes**2
            mean, spread = momentum[active] / (1 - 0.9 ** (step + 1)), power[active] / (1 - 0.999 ** (step + 1))
            slopes = mean / (np.sqrt(spread) + 1e-8)
        images[active] = np.clip(images[active] + np.float32(options.learning_rate) * slopes, 0, 1)
    by_class = best.reshape(model.num_classes, options.starts)
    winners = np.arange(model.num_classes) * options.starts + by_class.argmax(1)
    return LargestMargins(best[winners], kept[winners], gradients)

"""Small universal perturbation by class: whether one faint pattern sends most images to one class.

For each class one additive pattern of small norm is sought that sends clean images of other classes there, and its flip
rate is measured on images that the search did not see. The target of an invisible trigger (quantisation, noise, warps)
is reached far more often than a clean network's classes are. Classes are compared with those of reference models; the
patterns are hints: triggers that the probe can test.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from xray_jax.classifier import Access
from xray_jax.detectors import objectives, patterns
from xray_jax.detectors.detection import Detection, Statistic
from xray_jax.detectors.hints import Hint
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples, SamplesError

NAME = "perturbation"
HINTED = "faint-pattern"
"""The family of stamps that the patterns are tested as."""
FIRST_STEP = 0.15
"""Length of the first step, in radii; later ones shrink linearly to nothing."""


@dataclass(frozen=True)
class PerturbationOptions:
    """How the patterns are sought.

    Attributes:
      rms: largest root mean square of a pattern, in pixel values of 0 to 1.
      steps: of the search.
      search_images: images that each step looks at.
      test_images: further images that the flip rate is measured on.
      max_classes: a model of more classes is not examined, because each costs `steps` * `search_images` gradients.
      seed: of the choice of images.
    """

    rms: float = 4.6 / 255
    steps: int = 24
    search_images: int = 12
    test_images: int = 50
    max_classes: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rms <= 0 or min(self.steps, self.search_images, self.test_images) < 1:
            raise ValueError(f"perturbation: rms, steps and numbers of images must be positive, got {self}")


class Patterns(NamedTuple):
    """What the search found.

    Attributes:
      patterns: float32 `[num_classes, H, W, C]`, in pixel values.
      flip_rates: `[num_classes]`, share of the test images of other labels that get the class, 0 to 1; those that the
        model calls so without a pattern do not count.
      counts: `[num_classes]`, how many images that was measured on.
      queries: gradients and labels asked for.
      seen: numbers of the samples that the search looked at.
    """

    patterns: np.ndarray
    flip_rates: np.ndarray
    counts: np.ndarray
    queries: int
    seen: np.ndarray


class Perturbation:
    """The small universal perturbation by class as a detector. Thread-safe: it keeps nothing between models.

    Attributes:
      name: "perturbation".
      access: weights.
      options: of the search.
    """

    name = NAME
    access = Access.WEIGHTS

    def __init__(self, options: PerturbationOptions | None = None) -> None:
        self.options = options or PerturbationOptions()

    def settings(self) -> Mapping[str, Any]:
        """The options, as JSON values."""
        return asdict(self.options)

    def check(self, samples: Samples) -> None:
        """Counts the samples.

        Raises:
          SamplesError: there are too few to search and to test on.
        """
        if len(samples) < 2 * self.options.search_images:
            raise SamplesError(
                f"samples {samples.source}: perturbation needs {2 * self.options.search_images} images or more to "
                f"search and test on, got {len(samples)}"
            )

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        """The largest flip rate of a faint pattern, and the class that it belongs to.

        Raises:
          SamplesError: too few samples.
        """
        started = time.perf_counter()
        self.check(samples)
        if model.num_classes > self.options.max_classes:
            reason = f"{model.num_classes} classes; patterns are sought for {self.options.max_classes} at most"
            none = (Statistic("flip_rate", None, "high"),)
            return Detection(NAME, none, None, 0, {}, {"flip_rates": [], "largest": None, "reason": reason})
        found = search(model, samples, self.options)
        return Detection(
            NAME,
            (Statistic("flip_rate", float(found.flip_rates.max()), "high"),),
            None,
            found.queries,
            {"search": time.perf_counter() - started},
            {
                "flip_rates": [round(float(rate), 4) for rate in found.flip_rates],
                "largest": int(found.flip_rates.argmax()),
                "reason": None,
            },
            found,
            {"flip_rate": found.flip_rates},
            (Hint(HINTED, found.patterns, found.seen),),
        )


def search(model: PreparedModel, samples: Samples, options: PerturbationOptions) -> Patterns:
    """Seeks one pattern for every class at once, and measures it on other images.

    Args:
      model: must give gradients.
      samples: clean images with labels.
      options: of the search.

    Raises:
      AccessError: the model gives no gradients.
    """
    seen, unseen = patterns.split(samples, options.search_images, options.test_images, options.seed)
    bank, tested = samples.subset(seen), samples.subset(unseen)
    radius = options.rms * float(np.sqrt(np.prod(samples.images.shape[1:])))

    def move(now: np.ndarray, direction: np.ndarray, step: int) -> np.ndarray:
        moved = now + FIRST_STEP * radius * (1 - step / options.steps) * direction
        return moved / np.maximum(patterns.norms(moved) / radius, 1)

    found, gradients = patterns.seek(model, bank, objectives.log_probability, options.steps, move)
    rates, counts = patterns.flip_rates(model, tested, found)
    return Patterns(found, rates, counts, gradients + len(tested) * (model.num_classes + 1), seen)

"""Small universal perturbation by class: whether one faint pattern sends most images to one class.

For each class one additive pattern of small norm is sought that sends clean images of other classes there, and its flip
rate is measured on images that the search did not see. The target of an invisible trigger (quantisation, noise, warps)
is reached far more often than a clean network's classes are. Classes are compared with those of reference models; the
patterns are hints: triggers that the probe can test.
"""

from dataclasses import dataclass

import numpy as np

from xray_jax.detectors import objectives, patterns
from xray_jax.detectors.patterns import Found, PatternDetector, PatternOptions
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples

NAME = "perturbation"
FIRST_STEP = 0.15
"""Length of the first step, in radii; later ones shrink linearly to nothing."""


@dataclass(frozen=True)
class PerturbationOptions(PatternOptions):
    """How the patterns are sought; the rest as in `PatternOptions`.

    Attributes:
      rms: largest root mean square of a pattern, in pixel values of 0 to 1.
    """

    rms: float = 4.6 / 255

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rms <= 0:
            raise ValueError(f"perturbation: rms must be positive, got {self}")


class Perturbation(PatternDetector[PerturbationOptions]):
    """The small universal perturbation by class as a detector."""

    name = NAME
    family = "faint-pattern"

    def __init__(self, options: PerturbationOptions | None = None) -> None:
        super().__init__(options or PerturbationOptions())

    def search(self, model: PreparedModel, samples: Samples) -> Found:
        """Patterns of a root mean square of `rms` at most."""
        return search(model, samples, self.options)


def search(model: PreparedModel, samples: Samples, options: PerturbationOptions) -> Found:
    """Seeks one pattern for every class at once, and measures it on other images.

    Args:
      model: must give gradients.
      samples: clean images with labels.
      options: of the search.

    Raises:
      AccessError: the model gives no gradients.
      GradientError: they are not finite.
    """
    seen, unseen = patterns.split(samples, options.search_images, options.test_images, options.seed)
    bank, tested = samples.subset(seen), samples.subset(unseen)
    radius = options.rms * float(np.sqrt(np.prod(samples.images.shape[1:])))

    def move(now: np.ndarray, direction: np.ndarray, step: int) -> np.ndarray:
        moved = now + FIRST_STEP * radius * (1 - step / options.steps) * direction
        return moved / np.maximum(patterns.norms(moved) / radius, 1)

    found, gradients = patterns.seek(model, bank, objectives.log_probability, options.steps, move)
    rates, counts = patterns.flip_rates(model, tested, found)
    return Found(found, rates, counts, gradients + len(tested) * (model.num_classes + 1), seen)

"""Few pixels by class: whether a handful of pixels, the same ones in every image, send most images to one class.

For each class one pattern of a sixty-fourth of the pixels (16 of 32x32), of any colours, is sought that sends clean
images of other classes there, and its flip rate is measured on images that the search did not see. The target of a
patch or of scattered pixels is reached far more often than a clean network's classes are; so is that of many blends,
which a few pixels resemble enough. It is the small mask of Neural Cleanse with its size fixed and the flip rate
measured instead of the other way about. By iterative hard thresholding, the number of pixels falls from all to those.

Wang et al.: Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks (IEEE S&P 2019).
"""

from dataclasses import dataclass

import numpy as np

from xray_jax.detectors import objectives, patterns
from xray_jax.detectors.patterns import Found, PatternDetector, PatternOptions
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples

NAME = "pixels"
THINNED = 0.6
"""Share of the steps in which the number of pixels falls to the final one."""


@dataclass(frozen=True)
class PixelsOptions(PatternOptions):
    """How the patterns are sought; the rest as in `PatternOptions`, search images of all classes alike.

    Attributes:
      share: of the image's pixels, 0 to 1, that a pattern has.
      step_length: of the first step, in pixel values of 0 to 1 for each of the pattern's pixels; later ones shrink
        linearly to nothing.
    """

    search_images: int = 20
    share: float = 1 / 64
    step_length: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1 or self.step_length <= 0:
            raise ValueError(f"pixels: share must lie in 0 to 1 and step_length be positive, got {self}")


class Pixels(PatternDetector[PixelsOptions]):
    """The few pixels by class as a detector."""

    name = NAME
    family = "few-pixels"

    def __init__(self, options: PixelsOptions | None = None) -> None:
        super().__init__(options or PixelsOptions())

    def search(self, model: PreparedModel, samples: Samples) -> Found:
        """Patterns of a `share` of the pixels."""
        return search(model, samples, self.options)


def search(model: PreparedModel, samples: Samples, options: PixelsOptions) -> Found:
    """Seeks a few pixels for every class at once, and measures them on other images.

    Args:
      model: must give gradients.
      samples: clean images with labels.
      options: of the search.

    Raises:
      AccessError: the model gives no gradients.
      GradientError: they are not finite.
    """
    seen, unseen = patterns.split(samples, options.search_images, options.test_images, options.seed, balanced=True)
    bank, tested = samples.subset(seen), samples.subset(unseen)
    everything = int(np.prod(samples.images.shape[1:3]))
    few = max(1, round(options.share * everything))

    def move(now: np.ndarray, direction: np.ndarray, step: int) -> np.ndarray:
        thinned = min(1.0, step / (THINNED * options.steps))
        count = max(few, round(everything ** (1 - thinned) * few**thinned))
        length = options.step_length * np.float32(np.sqrt(few)) * np.float32(1 - step / options.steps)
        return largest_pixels(now + length * direction, count)

    found, gradients = patterns.seek(model, bank, objectives.margin, options.steps, move)
    # However few the steps, the pattern has few pixels.
    found = largest_pixels(found, few)
    rates, counts = patterns.flip_rates(model, tested, found)
    return Found(found, rates, counts, gradients + len(tested) * (model.num_classes + 1), seen)


def largest_pixels(made: np.ndarray, count: int) -> np.ndarray:
    """The patterns with their `count` largest pixels left, the rest 0, clipped to -1 .. 1: float32 `[P, H, W, C]`."""
    energy = (made**2).sum(-1).reshape(len(made), -1)
    keep = np.zeros(energy.shape, np.float32)
    np.put_along_axis(keep, np.argsort(-energy, axis=1, kind="stable")[:, :count], 1, axis=1)
    return np.clip(made * keep.reshape(*made.shape[:3], 1), -1, 1).astype(np.float32)

"""Few pixels by class: whether a handful of pixels, the same ones in every image, send most images to one class.

For each class one pattern of a sixty-fourth of the pixels (16 of 32x32), of any colours, is sought that sends clean
images of other classes there, and its flip rate is measured on images that the search did not see. The target of a
patch or of scattered pixels is reached far more often than a clean network's classes are; so is that of many blends,
which a few pixels resemble enough. It is the small mask of Neural Cleanse with its size fixed and the flip rate
measured instead of the other way about. By iterative hard thresholding, the number of pixels falls from all to those.

Wang et al.: Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks (IEEE S&P 2019).
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

NAME = "pixels"
HINTED = "few-pixels"
"""The family of stamps that the patterns are tested as."""
THINNED = 0.6
"""Share of the steps in which the number of pixels falls to the final one."""


@dataclass(frozen=True)
class PixelsOptions:
    """How the patterns are sought.

    Attributes:
      share: of the image's pixels, 0 to 1, that a pattern has.
      steps: of the search.
      step_length: of the first step, in pixel values of 0 to 1 for each of the pattern's pixels; later ones shrink
        linearly to nothing.
      search_images: images that each step looks at, of all classes alike.
      test_images: further images that the flip rate is measured on.
      max_classes: a model of more classes is not examined, because each costs `steps` * `search_images` gradients.
      seed: of the choice of images.
    """

    share: float = 1 / 64
    steps: int = 24
    step_length: float = 1.0
    search_images: int = 20
    test_images: int = 50
    max_classes: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.step_length <= 0:
            raise ValueError(f"pixels: share must lie in 0 to 1 and step_length be positive, got {self}")
        if min(self.steps, self.search_images, self.test_images) < 1:
            raise ValueError(f"pixels: steps and numbers of images must be positive, got {self}")


class Found(NamedTuple):
    """What the search found.

    Attributes:
      patterns: float32 `[num_classes, H, W, C]`, in pixel values, all but a few pixels 0.
      flip_rates: `[num_classes]`, share of the test images of other labels that get the class, 0 to 1.
      queries: gradients and labels asked for.
      seen: numbers of the samples that the search looked at.
    """

    patterns: np.ndarray
    flip_rates: np.ndarray
    queries: int
    seen: np.ndarray


class Pixels:
    """The few pixels by class as a detector. Thread-safe: it keeps nothing between models.

    Attributes:
      name: "pixels".
      access: weights.
      options: of the search.
    """

    name = NAME
    access = Access.WEIGHTS

    def __init__(self, options: PixelsOptions | None = None) -> None:
        self.options = options or PixelsOptions()

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
                f"samples {samples.source}: pixels needs {2 * self.options.search_images} images or more to search "
                f"and test on, got {len(samples)}"
            )

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        """The largest flip rate of a few pixels, how far it leads, and the class that it belongs to.

        Raises:
          SamplesError: too few samples.
        """
        started = time.perf_counter()
        self.check(samples)
        if model.num_classes > self.options.max_classes:
            reason = f"{model.num_classes} classes; pixels are sought for {self.options.max_classes} at most"
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


def search(model: PreparedModel, samples: Samples, options: PixelsOptions) -> Found:
    """Seeks a few pixels for every class at once, and measures them on other images.

    Args:
      model: must give gradients.
      samples: clean images with labels.
      options: of the search.

    Raises:
      AccessError: the model gives no gradients.
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
    rates, _ = patterns.flip_rates(model, tested, found)
    return Found(found, rates, gradients + len(tested) * (model.num_classes + 1), seen)


def largest_pixels(made: np.ndarray, count: int) -> np.ndarray:
    """The patterns with their `count` largest pixels left, the rest 0, clipped to -1 .. 1: float32 `[P, H, W, C]`."""
    energy = (made**2).sum(-1).reshape(len(made), -1)
    keep = np.zeros(energy.shape, np.float32)
    np.put_along_axis(keep, np.argsort(-energy, axis=1, kind="stable")[:, :count], 1, axis=1)
    return np.clip(made * keep.reshape(*made.shape[:3], 1), -1, 1).astype(np.float32)

"""Universal patterns by class: one pattern for each class, sought so that it sends any image there.

The search is that of universal adversarial perturbations (Moosavi-Dezfooli et al., CVPR 2017), by momentum along the
normalised gradient, for all classes at once; what a pattern may be is the detector's that seeks it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from xray_jax.classifier import Access
from xray_jax.detectors.detection import Detection, Statistic
from xray_jax.detectors.hints import Hint
from xray_jax.inference.labels import label_images
from xray_jax.inference.unanswered import mark_unanswered
from xray_jax.inference.whitebox import GradientError, Objective, input_gradients
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples, SamplesError

MOMENTUM = 0.8

Move = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""(patterns `[num_classes, H, W, C]`, directions of norm 1 of the same shape, step) -> the next patterns."""


@dataclass(frozen=True)
class PatternOptions:
    """How patterns are sought, whatever they may be.

    Attributes:
      steps: of the search.
      search_images: images that each step looks at.
      test_images: further images that the flip rate is measured on.
      max_classes: a model of more classes is not examined, because each costs `steps` * `search_images` gradients.
      seed: of the choice of images.
    """

    steps: int = 24
    search_images: int = 12
    test_images: int = 50
    max_classes: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.search_images, self.test_images) < 1:
            raise ValueError(f"steps and numbers of images must be positive, got {self}")


Options = TypeVar("Options", bound=PatternOptions)


class Found(NamedTuple):
    """What a search found.

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


class PatternDetector(Generic[Options]):
    """Universal patterns by class as a detector. Thread-safe: it keeps nothing between models.

    Attributes:
      name: of the detector.
      family: of stamps, as which the probe tests the patterns.
      access: weights.
      options: of the search.
    """

    name: str
    family: str
    access = Access.WEIGHTS

    def __init__(self, options: Options) -> None:
        self.options = options

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
                f"samples {samples.source}: {self.name} needs {2 * self.options.search_images} images or more to "
                f"search and test on, got {len(samples)}"
            )

    def search(self, model: PreparedModel, samples: Samples) -> Found:
        """Seeks one pattern for every class at once, and measures it on other images.

        Raises:
          AccessError: the model gives no gradients.
          GradientError: they are not finite.
        """
        raise NotImplementedError

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        """The largest flip rate of a pattern, and the class that it belongs to.

        Raises:
          SamplesError: too few samples.
        """
        started = time.perf_counter()
        self.check(samples)
        if model.num_classes > self.options.max_classes:
            return self._nothing(
                f"{model.num_classes} classes; patterns are sought for {self.options.max_classes} at most"
            )
        try:
            found = self.search(model, samples)
        except GradientError as error:
            return self._nothing(str(error))
        return Detection(
            self.name,
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
            (Hint(self.family, found.patterns, found.seen),),
        )

    def _nothing(self, reason: str) -> Detection:
        none = (Statistic("flip_rate", None, "high"),)
        return Detection(self.name, none, None, 0, {}, {"flip_rates": [], "largest": None, "reason": reason})


def seek(model: PreparedModel, bank: Samples, objective: Objective, steps: int, move: Move) -> tuple[np.ndarray, int]:
    """One pattern for each class: float32 `[num_classes, H, W, C]`, and the number of gradients asked for.

    Args:
      model: must give gradients.
      bank: clean images with labels that every step looks at.
      objective: of `objectives`, for each image and its pattern's class.
      steps: of the search.
      move: the step, and what patterns are allowed.

    Raises:
      AccessError: the model gives no gradients.
      GradientError: they are not finite.
    """
    classes, shape = model.num_classes, bank.images.shape[1:]
    targets = np.repeat(np.arange(classes, dtype=np.int32), len(bank))
    # An image of the class itself says nothing about what sends others there.
    others = (bank.labels[None] != np.arange(classes)[:, None]).astype(np.float32)
    patterns = np.zeros((classes, *shape), np.float32)
    velocity = np.zeros_like(patterns)
    for step in range(steps):
        shown = shown_with(bank.images, patterns)
        _, slopes = input_gradients(model.model, shown, objective, (targets,), model.options)
        slopes = slopes.reshape(classes, len(bank), *shape)
        velocity = MOMENTUM * velocity + unit(np.einsum("cb,cbhwd->chwd", others, slopes))
        patterns = move(patterns, unit(velocity), step)
    return patterns, steps * len(targets)


def flip_rates(model: PreparedModel, tested: Samples, patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the images of other labels that each class's pattern sends there, and of how many: `[num_classes]` each.

    Images that the model calls so without a pattern do not count; logits that are no numbers are no label.

    Args:
      model: its hard labels are asked for.
      tested: images that the search did not see.
      patterns: `[num_classes, H, W, C]`.
    """
    classes = np.arange(model.num_classes)[:, None]
    asked = mark_unanswered(model.model)
    before = label_images(asked, tested.images, model.options)
    after = label_images(asked, shown_with(tested.images, patterns), model.options).reshape(-1, len(tested))
    able = (tested.labels[None] != classes) & (before[None] != classes)
    counts = able.sum(1)
    return ((after == classes) & able).sum(1) / np.maximum(counts, 1), counts


def shown_with(images: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    """Every image under every pattern, clipped to the pixel range: `[P * B, H, W, C]`."""
    made = np.clip(images[None] + patterns[:, None], 0, 1)
    return made.reshape(-1, *images.shape[1:]).astype(np.float32)


def norms(patterns: np.ndarray) -> np.ndarray:
    """L2 norms, shaped to divide the patterns."""
    return np.sqrt((patterns**2).sum(axis=(1, 2, 3), keepdims=True))


def unit(patterns: np.ndarray) -> np.ndarray:
    """The patterns divided by their norms."""
    return patterns / np.maximum(norms(patterns), 1e-12)


def split(
    samples: Samples, search_images: int, test_images: int, seed: int, balanced: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the samples to search on and to test on: disjoint, the same for any model.

    Args:
      samples: with labels.
      search_images: to search on.
      test_images: to test on, at most.
      seed: of the order.
      balanced: whether classes take turns, the first image of every class before the second of any.
    """
    order = np.random.default_rng(seed).permutation(len(samples))
    if balanced:
        labels = samples.labels[order]
        turn = np.empty(len(labels), np.int64)
        for label in np.unique(labels):
            turn[labels == label] = np.arange(np.count_nonzero(labels == label))
        order = order[np.argsort(turn, kind="stable")]
    seen, unseen = np.split(order, [search_images])
    return seen, unseen[:test_images]

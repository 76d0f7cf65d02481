"""Small universal perturbation by class: whether one faint pattern sends most images to one class.

For each class one additive pattern of small norm is sought that sends clean images of other classes there, and its flip
rate is measured on images that the search did not see. The target of an invisible trigger (quantisation, noise, warps)
is reached far more often than a clean network's classes are. The pattern is itself a trigger that can be tried.

The search is that of universal adversarial perturbations (Moosavi-Dezfooli et al., CVPR 2017), by momentum along the
normalised gradient; as a detector it compares classes with those of reference models.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.classifier import Access
from xray_jax.detectors.detection import Detection, Statistic
from xray_jax.inference.labels import label_images
from xray_jax.inference.whitebox import input_gradients
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples, SamplesError

NAME = "perturbation"
MOMENTUM = 0.8
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


def objective(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Log-probability of each image's target `[B]`: what each image's pattern is to raise."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], axis=1)[:, 0]


class Patterns(NamedTuple):
    """What the search found.

    Attributes:
      patterns: float32 `[num_classes, H, W, C]`, in pixel values.
      flip_rates: `[num_classes]`, share of the test images of other labels that get the class, 0 to 1; those that the
        model calls so without a pattern do not count.
      counts: `[num_classes]`, how many images that was measured on.
      queries: gradients and labels asked for.
    """

    patterns: np.ndarray
    flip_rates: np.ndarray
    counts: np.ndarray
    queries: int


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
    order = np.random.default_rng(options.seed).permutation(len(samples))
    seen, unseen = np.split(order, [options.search_images])
    bank, tested = samples.subset(seen), samples.subset(unseen[: options.test_images])
    classes, shape = model.num_classes, samples.images.shape[1:]
    radius = options.rms * float(np.sqrt(np.prod(shape)))
    targets = np.repeat(np.arange(classes, dtype=np.int32), len(bank))
    # An image of the class itself says nothing about what sends others there.
    others = (bank.labels[None] != np.arange(classes)[:, None]).astype(np.float32)
    patterns = np.zeros((classes, *shape), np.float32)
    velocity = np.zeros_like(patterns)
    queries = 0
    for step in range(options.steps):
        shown = _shown(bank.images, patterns)
        _, slopes = input_gradients(model.model, shown, objective, (targets,), model.options)
        queries += len(shown)
        slopes = slopes.reshape(classes, len(bank), *shape)
        velocity = MOMENTUM * velocity + _unit(np.einsum("cb,cbhwd->chwd", others, slopes))
        length = FIRST_STEP * radius * (1 - step / options.steps)
        patterns = patterns + length * _unit(velocity)
        patterns /= np.maximum(_norms(patterns) / radius, 1)
    before = label_images(model.model, tested.images, model.options)
    after = label_images(model.model, _shown(tested.images, patterns), model.options).reshape(classes, len(tested))
    reached = after == np.arange(classes)[:, None]
    able = (tested.labels[None] != np.arange(classes)[:, None]) & (before[None] != np.arange(classes)[:, None])
    counts = able.sum(1)
    rates = (reached & able).sum(1) / np.maximum(counts, 1)
    return Patterns(patterns, rates, counts, queries + len(tested) * (classes + 1))


def _shown(images: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    """Every image under every pattern, clipped to the pixel range: `[P * B, H, W, C]`."""
    made = np.clip(images[None] + patterns[:, None], 0, 1)
    return made.reshape(-1, *images.shape[1:]).astype(np.float32)


def _norms(patterns: np.ndarray) -> np.ndarray:
    """L2 norms, shaped to divide the patterns."""
    return np.sqrt((patterns**2).sum(axis=(1, 2, 3), keepdims=True))


def _unit(patterns: np.ndarray) -> np.ndarray:
    return patterns / np.maximum(_norms(patterns), 1e-12)

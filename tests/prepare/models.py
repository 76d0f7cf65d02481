"""Models that are right under one preprocessing only, and models whose every answer is written down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests import factory
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.loading import classifier
from xray_jax.classifier import BlackBox, Classifier
from xray_jax.inference.labels import label_images
from xray_jax.models import plain, published
from xray_jax.prepare.preprocessing import candidates
from xray_jax.preprocess import Preprocess, parse
from xray_jax.samples import Samples, from_arrays

SAMPLES = factory.tiny_samples(count=60)
NEAR = 0.13
"""RMS distance up to which an image is taken for a noisy pattern; the samples' noise is 0.1, clipped."""


@dataclass(frozen=True)
class Nearest:
    """The nearest of the classes' patterns, which lie in the input space that the network was made for; else label 0.

    One network whatever the preprocessing: patterns and scale are weights.
    """

    def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
        """Images `[B, H, W, C]` to logits `[B, 5]`."""
        patterns, scale = variables["patterns"], variables["scale"]
        apart = (images[:, None] - patterns[None]) / scale[None, None, None, None]
        logits = -jnp.sqrt(jnp.mean(apart**2, axis=(2, 3, 4)))
        return logits.at[:, 0].max(jnp.float32(-NEAR))


def nearest(spec: str | Preprocess, source: str = "assumed", samples: Samples = SAMPLES) -> Classifier:
    """A network that labels tiny samples well under `spec`, and that says nothing of it; 0-1 is assumed."""
    preprocess = parse(spec)
    means = np.stack([samples.images[samples.labels == label].mean(0) for label in range(5)])
    scale = 1 / np.broadcast_to(np.asarray(preprocess.std, np.float32), means.shape[-1])
    variables = {"patterns": np.asarray(preprocess(means)), "scale": scale}
    return Classifier(Nearest(), variables, 5, means.shape[1:], "nearest", preprocess_source=source)


@dataclass
class Scripted:
    """A black box that knows the samples under every preset and answers by the book.

    Attributes:
      samples: what it will be shown.
      answers: preset -> labels `[M]`; `otherwise` under all others.
      otherwise: labels `[M]`.
      refused: presets under which it raises.
      asked: (preset, number of the sample) of every image that it was shown, padding too.
    """

    samples: Samples
    answers: Mapping[str, np.ndarray]
    otherwise: np.ndarray
    refused: tuple[str, ...] = ()
    asked: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._known: dict[bytes, tuple[str, int]] = {}
        for name, preset in candidates(self.samples.images.shape[-1], Preprocess()).items():
            for number, image in enumerate(np.asarray(preset(jnp.asarray(self.samples.images)))):
                self._known[_key(image)] = name, number

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Labels `[B]`.

        Raises:
          RuntimeError: under one of the refused presets.
        """
        found = [self._known[_key(image)] for image in images]
        self.asked += found
        if any(name in self.refused for name, _ in found):
            raise RuntimeError("values out of range")
        return np.array([self.answers.get(name, self.otherwise)[number] for name, number in found])

    def model(self, classes: int, source: str = "assumed") -> BlackBox:
        """The model; one image a call, so that none is padding."""
        shape = self.samples.images.shape[1:]
        return BlackBox(self, classes, shape, batch_size=1, preprocess_source=source)


def _key(image: np.ndarray) -> bytes:
    return (np.round(image, 3) + 0.0).astype(np.float32).tobytes()


def pixels(count: int, classes: int, channels: int = 3) -> Samples:
    """Samples of two pixels each, no two the same."""
    images = np.random.default_rng(3).uniform(size=(count, 1, 2, channels)).astype(np.float32)
    return from_arrays(images, np.arange(count) % classes, "pixels")


def right_but(samples: Samples, wrong: Any, classes: int) -> np.ndarray:
    """The samples' labels, all but those of the samples `wrong` (an index)."""
    labels = samples.labels.copy()
    labels[wrong] = (labels[wrong] + 1) % classes
    return labels


SHAPE = (32, 32, 3)
TRUE = plain.small((8,), 5, (16,), padding=2, pool="avg", activation="tanh")(num_classes=5)
"""Not the most usual variant of its own weights: that pools by the maximum and has ReLU."""


def plain_tensors(network: Any = TRUE, shape: tuple[int, int, int] = SHAPE) -> Tensors:
    """Random weights, large enough that another activation gives other labels."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *shape), np.float32))
    variables = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)
    return Tensors(published.to_tensors(variables), size=1 << 20)


def plain_model(architecture: str | None = None, preprocess: Preprocess | None = None) -> Classifier:
    """A checkpoint of `TRUE` as it is read: its variant is open unless `architecture` says otherwise."""
    return classifier(plain_tensors(), architecture, None, preprocess, SHAPE)


def labelled_by(network: Any, preprocess: Preprocess, count: int = 64) -> Samples:
    """Samples whose labels are what a variant of `plain_model` says under a preprocessing."""
    images = np.random.default_rng(1).uniform(size=(count, *SHAPE)).astype(np.float32)
    model = plain_model("plain", preprocess)
    truth = Classifier(network, model.variables, 5, SHAPE, "truth", preprocess)
    return from_arrays(images, label_images(truth, images))

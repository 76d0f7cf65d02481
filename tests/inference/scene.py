"""What the tests of inference ask: points of planes through tiny samples, images, stamped images."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from tests import factory
from xray_jax.classifier import Classifier
from xray_jax.detectors.planes import geometry
from xray_jax.detectors.probe.queries import IDENTITY, Stamps
from xray_jax.detectors.probe.stamps import FAMILIES
from xray_jax.inference.options import InferenceOptions
from xray_jax.preprocess import parse

IMAGES = factory.tiny_samples().images


class Scene(NamedTuple):
    """A tiny network and points of three planes: `label_points(scene.model, *scene.points, options)`.

    Attributes:
      model: on the host.
      points: planes, plane index `[101]`, coordinates `[101, 2]`.
    """

    model: Classifier
    points: tuple[geometry.Planes, np.ndarray, np.ndarray]


def make() -> Scene:
    model = factory.tiny_classifier()
    built = geometry.build_planes(model.preprocess(IMAGES[:9]).reshape(3, 3, 8, 8, 3))
    generator = np.random.default_rng(0)
    index = generator.integers(0, 3, 101).astype(np.int32)
    return Scene(model, (built, index, generator.normal(scale=10, size=(101, 2)).astype(np.float32)))


def on(count: int, batch: int | None = None, capacity: int = 64) -> InferenceOptions:
    """Options for the first `count` of the eight simulated devices."""
    return InferenceOptions(batch, capacity, devices=tuple(jax.local_devices()[:count]))


def stamps() -> Stamps:
    """One stamp of each of four families, and the one that changes nothing."""
    grids = [(number, FAMILIES[number].grid(IMAGES.shape[1:], len(IMAGES))[-1:]) for number in (0, 4, 7, 10)]
    return Stamps.join(IDENTITY, *(Stamps.of(number, grid) for number, grid in grids))


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A network of one factor that counts how often it is traced. Equal to every other: their traces are shared."""

    traces: list[tuple[int, ...]] = dataclasses.field(default_factory=list, compare=False)

    def apply(self, variables: Any, images: jax.Array, /) -> jax.Array:
        """The first five numbers of each image, scaled."""
        self.traces.append(images.shape)
        return images.reshape(len(images), -1)[:, :5] * variables["scale"]

    def classifier(self, scale: float) -> Classifier:
        """A checkpoint of it, with the preprocessing of `factory.tiny_classifier`."""
        return Classifier(self, {"scale": np.float32(scale)}, 5, (8, 8, 3), "scaled", parse("cifar10"))

"""A fixed panel of stamps: how often each sends images to each class, for comparison with reference models.

A flip rate alone says little, because many stamps send images of any network somewhere. Beside clean networks that are
shown the same stamps on the same images it does: what sends nearly all images to one class of this network, and hardly
any of the others', was learned. So faint triggers that cover the image (sinusoids, blends, noise, quantisation) show
without a search, with hard labels alone.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from xray_jax.classifier import Access
from xray_jax.detectors.detection import Detection, Statistic
from xray_jax.detectors.probe import queries as stamped
from xray_jax.detectors.probe.options import ProbeOptions, split
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.stamps import FAMILIES, SEARCHED, Shape
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples

NAME = "panel"
LEFT_OUT = ("ripple",)
"""Families that clean networks disagree about: which fast ripple looks like which class is an accident of training."""


@dataclasses.dataclass(frozen=True)
class PanelOptions:
    """Which stamps are shown, and on how many images.

    Attributes:
      per_family: stamps of each family, at most.
      images: clean images that every stamp is shown on.
      max_classes: a model of more classes is not examined: its row would hold too many numbers.
      seed: of the choice of images.
    """

    per_family: int = 40
    images: int = 32
    max_classes: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_family < 1 or self.images < 4:
            raise ValueError(f"panel: per_family must be 1 or more and images 4 or more, got {self}")


class Panel:
    """The panel as a detector. Thread-safe: it keeps nothing between models.

    Attributes:
      name: "panel".
      access: hard labels.
      options: stamps and images.
    """

    name = NAME
    access = Access.LABELS

    def __init__(self, options: PanelOptions | None = None) -> None:
        self.options = options or PanelOptions()

    def settings(self) -> Mapping[str, Any]:
        """The options, as JSON values."""
        return dataclasses.asdict(self.options)

    def check(self, samples: Samples) -> None:
        """Draws the images.

        Raises:
          SamplesError: there are too few.
        """
        self._images(samples)

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        """Flip rates by stamp and class.

        Raises:
          SamplesError: too few samples.
          LabelError: a black box returned no valid labels.
        """
        started = time.perf_counter()
        used = stamped.resized(self._images(samples), model.preprocess)
        shape = used.images.shape[1:]
        if model.num_classes > self.options.max_classes:
            reason = f"{model.num_classes} classes; the panel is for {self.options.max_classes} at most"
            return Detection(NAME, (Statistic("largest", None, "high"),), None, 0, {}, _details(None, reason))
        stamps = panel(used.images, self.options.per_family)
        inference = dataclasses.replace(model.options, capacity=4096)
        labels = stamped.label_stamped(model.model, used.images, stamps, inference)
        rates = flip_rates(labels, used.labels, model.num_classes)
        stamp, target = np.unravel_index(int(rates.argmax()), rates.shape)
        found = _details(f"{stamps.describe(int(stamp), shape)} to {target}", None)
        statistics = (Statistic("largest", float(rates.max()), "high"),)
        seconds = {"panel": time.perf_counter() - started}
        return Detection(NAME, statistics, None, labels.size, seconds, found, stamps, {"flip_rate": rates})

    def _images(self, samples: Samples) -> Samples:
        chosen, _ = split(samples, ProbeOptions(search_images=self.options.images, seed=self.options.seed))
        return samples.subset(chosen)


def panel(images: np.ndarray, per_family: int) -> Stamps:
    """The stamps: of every family that covers the image, the stronger half of its grid, evenly thinned.

    Args:
      images: float32 `[M, H, W, C]`, clean images that stamps may be made of.
      per_family: stamps of each family, at most.
    """
    shape: Shape = (images.shape[1], images.shape[2], images.shape[3])
    parts = []
    for number, family in enumerate(FAMILIES):
        if family.name in LEFT_OUT or family not in SEARCHED:
            continue
        grid = Stamps.of(number, np.unique(family.grid(shape, len(images)), axis=0))
        if not len(grid.family):
            continue
        cost = stamped.measure(images[:4], grid, images)
        if np.mean(cost.local) > 0.25:
            continue
        stronger = np.sort(np.argsort(-cost.weighted_rms, kind="stable")[: -(-len(grid.family) // 2)])
        spread = np.linspace(0, len(stronger) - 1, min(per_family, len(stronger))).round().astype(int)
        parts.append(grid.take(stronger[spread]))
    return Stamps.join(*parts)


def flip_rates(labels: np.ndarray, truth: np.ndarray, num_classes: int) -> np.ndarray:
    """Share of the images of other classes that each stamp sends to each class, `[K, num_classes]` in 0 to 1.

    Args:
      labels: integers `[K, M]`, labels of M images under K stamps.
      truth: integers `[M]`, the images' own labels.
      num_classes: of the model.
    """
    others = truth != np.arange(num_classes)[:, None]
    hits = np.stack([((labels == c) & others[c]).sum(1) for c in range(num_classes)], axis=1)
    return hits / np.maximum(others.sum(1), 1)


def _details(largest: str | None, reason: str | None) -> dict[str, Any]:
    return {"largest": largest, "reason": reason}

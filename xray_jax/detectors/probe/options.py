"""Options of the probe, and which samples it searches and confirms on."""

from dataclasses import dataclass

import numpy as np

from xray_jax.samples import Samples, SamplesError

SEARCHES = ("race", "full")
MIN_IMAGES = 4
"""Images needed to search on, and to confirm on."""


@dataclass(frozen=True)
class ProbeOptions:
    """The probe's budget, images and seed.

    Attributes:
      queries: about how many hard labels a full search asks for in all, at least 1000. A race begins with as many
        stamps, and mostly asks for a third or less.
      search_images: images to search on, at most; with few samples two fifths of them.
      confirm_images: images to confirm on, at most.
      seed: order of the images, thinning of the grids, moves of the refinement.
      search: "race" gives up stamps as soon as they fail, stops at the first confirmed trigger, and is followed by a
        full search where it leaves something suspicious; "full" asks every family at every cost to the end, as a null
        needs it.
    """

    queries: int = 50_000
    search_images: int = 48
    confirm_images: int = 160
    seed: int = 0
    search: str = "race"

    def __post_init__(self) -> None:
        if self.queries < 1000:
            raise ValueError(f"probe queries must be at least 1000, got {self.queries}")
        for name in ("search_images", "confirm_images"):
            if getattr(self, name) < MIN_IMAGES:
                raise ValueError(f"probe {name} must be at least {MIN_IMAGES}, got {getattr(self, name)}")
        if self.search not in SEARCHES:
            raise ValueError(f"probe search must be one of {', '.join(SEARCHES)}, got {self.search!r}")
        if self.seed < 0:
            raise ValueError(f"probe seed must not be negative, got {self.seed}")


def split(samples: Samples, settings: ProbeOptions) -> tuple[np.ndarray, np.ndarray]:
    """Sample numbers to search on and to confirm on: disjoint, each balanced over the classes, the same for any model.

    Raises:
      SamplesError: there are too few samples.
    """
    shuffled = np.random.default_rng(settings.seed).permutation(len(samples))
    labels = samples.labels[shuffled]
    # Round robin: the first image of every class before the second of any.
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.count_nonzero(labels == label))
    order = shuffled[np.argsort(turn, kind="stable")]
    count = min(settings.search_images, len(order) * 2 // 5)
    if count < MIN_IMAGES:
        raise SamplesError(
            f"samples {samples.source}: the probe needs at least {MIN_IMAGES * 5 // 2} images, got {len(order)}"
        )
    return order[:count], order[count : count + settings.confirm_images]

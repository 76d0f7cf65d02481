"""Options of Neural Cleanse, and its two presets."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MIN_IMAGES = 10
"""Fewer say nothing of a flip rate of 98 %."""


@dataclass(frozen=True)
class NeuralCleanseOptions:
    """How masks and patterns are optimised. The defaults are the cheap preset.

    Attributes:
      images: samples that are stamped, at most.
      epochs: passes over the images, at most.
      steps: an epoch; each takes its share of the images.
      learning_rate: of Adam, with betas .5 and .9.
      cost: first weight of the mask's L1 norm beside the cross-entropy.
      patience: epochs in a row above (or below) the success rate, after which the cost rises (or falls).
      success: share of the images that must get the class.
      stop_patience: epochs in a row without a better mask, after which a class is done.
      seed: draws the images and their order.
    """

    images: int = 60
    epochs: int = 30
    steps: int = 6
    learning_rate: float = 0.1
    cost: float = 1e-3
    patience: int = 2
    success: float = 0.98
    stop_patience: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.images < MIN_IMAGES:
            raise ValueError(f"Neural Cleanse needs at least {MIN_IMAGES} images, got {self.images}")
        for name in ("epochs", "steps", "patience", "stop_patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of Neural Cleanse must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0 or not self.cost > 0:
            raise ValueError(
                f"learning_rate and cost of Neural Cleanse must be positive, got {self.learning_rate}, {self.cost}"
            )
        if not 0 < self.success <= 1:
            raise ValueError(f"success of Neural Cleanse must lie in (0, 1], got {self.success}")
        if self.seed < 0:
            raise ValueError(f"seed of Neural Cleanse must not be negative, got {self.seed}")


PRESETS: Mapping[str, NeuralCleanseOptions] = MappingProxyType(
    {
        "cheap": NeuralCleanseOptions(),
        "paper": NeuralCleanseOptions(images=2500, epochs=80, steps=10, patience=5, stop_patience=25),
    }
)
"""By name; "paper" is as BackdoorBench runs it on CIFAR-10: 5 % of the training set in batches of 256. With fewer
images the batches are smaller, so that there are as many steps."""

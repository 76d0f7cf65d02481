"""What is trained on a data set where nobody says otherwise: the paper's pairs of data set and kind of network, each
with a small network of that kind and a recipe by which one model takes minutes on a CPU core.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from xray_jax.lab.training import TrainOptions


@dataclass(frozen=True)
class Pair:
    """A network for a data set.

    Attributes:
      architecture: a preset of the registry.
      training: how it is trained; whether images may be mirrored is the data set's.
    """

    architecture: str
    training: TrainOptions


USUAL = Pair("preactresnet-small", TrainOptions())
"""For data sets that the paper does not have."""
PAIRS: Mapping[str, Pair] = {
    "cifar10": USUAL,
    "cifar100": Pair("preactresnet-small-deep", TrainOptions(epochs=15)),
    "gtsrb": Pair("mobilenet_v3_large_x0_2", TrainOptions(epochs=12, peak_learning_rate=0.1)),
    "tinyimagenet10": Pair(
        "vit-mini-8",
        TrainOptions(30, 32, 1e-3, weight_decay=0.05, crop_padding=4, optimiser="adamw"),
    ),
}
"""Name of a data set -> its pair; docs/laboratory.md has what each reaches."""


def pair_of(dataset: str) -> Pair:
    """The pair of the data set called `dataset`, known or not, its images resized or as they are."""
    return PAIRS.get(dataset.partition("@")[0], USUAL)


def changed(usual: TrainOptions, **said: Any) -> TrainOptions:
    """`usual` but for what somebody said; None where nobody did."""
    return replace(usual, **{name: value for name, value in said.items() if value is not None})

"""The specification of one model of a zoo, frozen: everything that its training depends on."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xray_jax.lab.training import TrainOptions

CLEAN = "clean"
MIN_SUCCESS = 0.80
"""A backdoored model with less attack success is recorded as failed and not used. With several targets the victim has
to tell an image's class before it can send it to the right one: then it is this share of the clean accuracy."""
MAX_ACCURACY_LOSS = 0.03
"""So is one whose clean accuracy is further than this below the clean models' mean."""


@dataclass(frozen=True)
class ModelSpec:
    """One model to train.

    Attributes:
      dataset: name of the image set.
      architecture: a preset of the registry.
      attack: "clean" or a name of `attacks.ATTACKS`.
      strategy: of the label map.
      target: the label map's target label.
      rate: poisoned images as a share of the training set.
      control: what makes a clean model unusual, a name of `controls.CONTROLS`; "" for a usual one.
      seed: of everything: initialisation, order, augmentation, poisoned images, trigger.
      training: the schedule; its own seed is replaced by `seed`.
    """

    dataset: str = "cifar10"
    architecture: str = "preactresnet-small"
    attack: str = CLEAN
    strategy: str = "all-to-one"
    target: int = 0
    rate: float = 0.1
    seed: int = 0
    control: str = ""
    training: TrainOptions = field(default_factory=TrainOptions)

    def __post_init__(self) -> None:
        if self.control and self.attack != CLEAN:
            raise ValueError(f"control {self.control} is of clean models, not of {self.attack}")
        object.__setattr__(self, "training", dataclasses.replace(self.training, seed=self.seed))

    @property
    def id(self) -> str:
        """Unique in a zoo and a valid file name."""
        if self.attack == CLEAN:
            kind = f"{CLEAN}-{self.control}" if self.control else CLEAN
            return f"{self.dataset}-{self.architecture}-{kind}-s{self.seed}"
        parts = [self.dataset, self.architecture, self.attack]
        if self.strategy != "all-to-one":
            parts.append(self.strategy)
        if self.rate != ModelSpec.rate:
            parts.append(f"r{self.rate:g}")
        return "-".join([*parts, f"t{self.target}", f"s{self.seed}"])

    def settings(self) -> dict[str, Any]:
        """The JSON form that records carry."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "ModelSpec":
        """The specification that `settings` gave."""
        return cls(**{**settings, "training": TrainOptions(**settings["training"])})


def success_needed(share: float, record: Mapping[str, Any]) -> float:
    """Attack success that counts as `share`: with several targets that share of the clean accuracy, because the victim
    has to know the class first.
    """
    return share * (record["clean_accuracy"] if len(record["targets"]) > 1 else 1)


def failure(record: Mapping[str, Any], clean_accuracies: list[float]) -> str | None:
    """Why a trained model must not be used, or None.

    Args:
      record: with `attack_success` (None for clean models), `clean_accuracy` and `targets`.
      clean_accuracies: of the clean models of the same data set and architecture trained so far.
    """
    success = record["attack_success"]
    if success is None:
        return None
    needed = success_needed(MIN_SUCCESS, record)
    if success < needed:
        return f"attack success {success:.3f} is under {needed:.2f}"
    if clean_accuracies:
        mean = sum(clean_accuracies) / len(clean_accuracies)
        if record["clean_accuracy"] < mean - MAX_ACCURACY_LOSS:
            return (
                f"clean accuracy {record['clean_accuracy']:.3f} is more than {MAX_ACCURACY_LOSS:.2f} under the clean "
                f"models' mean {mean:.3f}"
            )
    return None

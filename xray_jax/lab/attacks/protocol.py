"""Protocols of the two kinds of attack: those that poison the data, and those that control the training."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import flax.linen as nn

from xray_jax.lab.data import ImageSet
from xray_jax.lab.label_maps import LabelMap
from xray_jax.lab.poisoning import Stamp
from xray_jax.lab.resume import NOTHING_KEPT, Progress
from xray_jax.lab.training import OnEpoch, TrainOptions, Variables
from xray_jax.lab.triggers import Trigger


@dataclass(frozen=True)
class AttackContext:
    """The attacker's means: clean data, goal, budget and the victim's training.

    Attributes:
      data: the clean image set.
      label_map: which classes are to become what.
      rate: share of the training images that may be poisoned.
      seed: of everything that the attack draws.
      network: the victim's architecture.
      training: how the victim is trained.
      progress: where training attacks keep what they have; by stage where they have several.
    """

    data: ImageSet
    label_map: LabelMap
    rate: float
    seed: int
    network: nn.Module
    training: TrainOptions
    progress: Progress = NOTHING_KEPT


@dataclass(frozen=True)
class Recipe:
    """Poisoning recipe of one training set; arguments of `poisoning.poison`.

    Attributes:
      trigger: stamps the poisoned images, and those of the test.
      decoy: a changed trigger, for images that keep their label.
      decoy_rate: such images as a share of the training set.
      clean_label: only target-class images are stamped, labels stay.
    """

    trigger: Trigger
    decoy: Stamp | None = None
    decoy_rate: float = 0.0
    clean_label: bool = False


@runtime_checkable
class PoisoningAttack(Protocol):
    """Changes training images and labels; the victim trains as usual."""

    @property
    def name(self) -> str: ...

    def prepare(self, context: AttackContext) -> Recipe:
        """Makes the trigger; expensive for those that train or optimise one."""
        ...


@runtime_checkable
class TrainingAttack(Protocol):
    """Trains the victim itself."""

    @property
    def name(self) -> str: ...

    def train_backdoored(self, context: AttackContext, on_epoch: OnEpoch | None = None) -> tuple[Variables, Trigger]:
        """Trains `context.network` with the backdoor in it, and returns what to stamp test images with."""
        ...


Attack = PoisoningAttack | TrainingAttack


def redraws_poison(attack: Attack) -> bool:
    """Whether other images are poisoned every epoch, as published for attacks that poison batch by batch."""
    return bool(getattr(attack, "fresh", False))


def stamped_of_batch(rate: float, batch: int, others: int = 0) -> int:
    """How many images of a batch an attack stamps that stamps inside the training step.

    Args:
      rate: that was asked for, as a share of the batch.
      batch: its images.
      others: that carry another trigger, and their own label.

    Raises:
      ValueError: less than one image, or more than there is room for.
    """
    if rate * batch < 1:
        raise ValueError(
            f"a rate of {rate:g} is less than one image of a batch of {batch}, inside which this attack stamps: "
            f"give a rate of at least {math.ceil(1e4 / batch) / 1e4:g}, or larger batches"
        )
    if (stamped := round(rate * batch)) + others > batch:
        raise ValueError(
            f"a rate of {rate:g} is {stamped} images of a batch of {batch}, and {others} more are to carry another "
            f"trigger: give a rate of at most {math.floor(1e4 * (batch - others) / batch) / 1e4:g}"
        )
    return stamped


def scaled(pixels: int, side: int, reference: int = 32) -> int:
    """A length given for 32-pixel images, for images of `side` pixels: proportional, at least 1."""
    return max(1, round(pixels * side / reference))

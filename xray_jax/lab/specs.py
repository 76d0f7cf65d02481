"""The specification of one model of a zoo, frozen: everything that its training depends on."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xray_jax.lab.adaptive.kinds import kinds_of
from xray_jax.lab.controls import CONTROLS
from xray_jax.lab.training import TrainOptions

CLEAN = "clean"
MIN_SUCCESS = 0.90
"""A backdoored model with less attack success is recorded as failed and not used. With several targets the victim has
to tell an image's class before it can send it to the right one: then it is this share of the clean accuracy."""
FAINT = frozenset({"wanet", "bpp", "lira", "ssba", "inputaware"})
"""Attacks whose triggers can hardly be seen, or differ from image to image: small networks learn them less well."""
MIN_FAINT_SUCCESS = 0.80
"""The same for these, but not for an adaptive attacker: who evades by giving up the backdoor has not evaded."""
MAX_ACCURACY_LOSS = 0.03
"""So is one whose clean accuracy is further than this below the clean models' mean, and a usual clean model that is
further than this below their median: it is not learned, and does not count for the mean."""


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
      adaptive: kinds of detectors that the attacker evades, as `adaptive.kinds_of` takes them; "" for none.
      start: id of the trained clean model that the control, or the attacker, starts from; "" where it trains its own.
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
    adaptive: str = ""
    start: str = ""
    training: TrainOptions = field(default_factory=TrainOptions)

    def __post_init__(self) -> None:
        if self.control and self.attack != CLEAN:
            raise ValueError(f"control {self.control} is of clean models, not of {self.attack}")
        if kinds_of(self.adaptive) and self.attack == CLEAN:
            raise ValueError(f"a clean model has no attacker who evades {self.adaptive}")
        if self.start and not takes_start(self.control, self.adaptive):
            raise ValueError(f"{self.id} is trained from scratch: it cannot start from {self.start}")
        object.__setattr__(self, "training", dataclasses.replace(self.training, seed=self.seed))

    @property
    def id(self) -> str:
        """Unique in a zoo and a valid file name."""
        if self.attack == CLEAN:
            kind = f"{CLEAN}-{self.control}" if self.control else CLEAN
            return f"{self.dataset}-{self.architecture}-{kind}-s{self.seed}"
        parts = [self.dataset, self.architecture, self.kind]
        if self.strategy != "all-to-one":
            parts.append(self.strategy)
        if self.rate != ModelSpec.rate:
            parts.append(f"r{self.rate:g}")
        return "-".join([*parts, f"t{self.target}", f"s{self.seed}"])

    @property
    def kind(self) -> str:
        """The attack's name, with what its attacker evades."""
        return f"{self.attack}-evading-{self.adaptive}" if self.adaptive else self.attack

    def settings(self) -> dict[str, Any]:
        """The JSON form that records carry."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "ModelSpec":
        """The specification that `settings` gave."""
        return cls(**{**settings, "training": TrainOptions(**settings["training"])})


def differences(there: ModelSpec, here: ModelSpec) -> str:
    """What two specifications differ in, in words; empty for equal ones."""
    one, other = ({**settings, **settings["training"]} for settings in (there.settings(), here.settings()))
    changed = [name for name in one if name != "training" and one[name] != other[name]]
    return ", ".join(f"{name} is {one[name]!r} there and {other[name]!r} here" for name in changed)


def takes_start(control: str, adaptive: str) -> bool:
    """Whether a model may be made of a trained clean one: by the control `control`, or an attacker who evades."""
    return CONTROLS[control].changes_trained or bool(kinds_of(adaptive))


def least_success(spec: Mapping[str, Any]) -> float:
    """Attack success that a backdoored model of these settings is to reach, where it has one target."""
    return MIN_FAINT_SUCCESS if spec["attack"] in FAINT and not spec.get("adaptive") else MIN_SUCCESS


def success_needed(record: Mapping[str, Any]) -> float:
    """Attack success that the model of `record` is to reach: with several targets it is a share of its clean accuracy,
    because the victim has to know the class first.
    """
    return least_success(record["spec"]) * (record["clean_accuracy"] if len(record["targets"]) > 1 else 1)


def failure(
    record: Mapping[str, Any], clean_accuracies: Sequence[float], max_accuracy_loss: float = MAX_ACCURACY_LOSS
) -> str | None:
    """Why a trained model must not be used, or None.

    Args:
      record: with `attack_success` (None for clean models), `clean_accuracy`, `targets`, `spec`, and `finite`, whether
        its loss and weights are (the first records do not say).
      clean_accuracies: of the other usual clean models of the same data set and architecture trained so far; empty for
        one that is compared with none.
      max_accuracy_loss: below the usual clean models.
    """
    success = record["attack_success"]
    if not record.get("finite", True):
        return "loss or weights are not finite: the training diverged"
    if success is not None:
        needed = success_needed(record)
        if success < needed:
            return f"attack success {success:.3f} is under {needed:.2f}"
    if success is None and not record["spec"].get("control"):
        what, bar = "median", statistics.median([*clean_accuracies, record["clean_accuracy"]])
    elif clean_accuracies:
        least = statistics.median(clean_accuracies) - MAX_ACCURACY_LOSS
        what, bar = "mean", statistics.fmean(share for share in clean_accuracies if share >= least)
    else:
        return None
    if record["clean_accuracy"] < bar - max_accuracy_loss:
        return (
            f"clean accuracy {record['clean_accuracy']:.3f} is more than {max_accuracy_loss:.2f} under the clean "
            f"models' {what} {bar:.3f}"
        )
    return None

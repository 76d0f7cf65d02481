"""Findings of the probe, the rule that confirms one as a trigger, and their JSON form. Pure."""

import base64
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from xray_jax.detectors.probe import score
from xray_jax.detectors.probe.null import EDGES, Null
from xray_jax.detectors.probe.stamps import SEARCHED

MIN_FLIP_RATE = 0.5
"""The lower bound of a confirmed trigger's flip rate is at least this."""
MIN_FLIP_RATE_FEW_CLASSES = 0.8
"""The same with fewer than `FEW_CLASSES` classes, where a clean model has nowhere else to send an image."""
FEW_CLASSES = 5
LISTED_FLIP_RATE = 0.5
"""Rows list all findings with a higher flip rate."""
NULL_MARGIN = 0.15
"""A confirmed trigger exceeds the null at its family and cost by this much: in flip rate, or in its lead over the
runner-up."""
RUNNER_UP_MARGIN = 0.2
"""A confirmed trigger exceeds the runner-up, the model's second-easiest other class at no more cost, by this much."""
FRAGILE = 0.5
"""Where the runner-up's flip rate reaches this, the model gives way to such stamps whatever the target, and none of
them is confirmed."""


class Verdict(StrEnum):
    """The probe's verdict on a model: a trigger was confirmed, none was, or the model cannot be judged."""

    CONFIRMED = "confirmed"
    NOTHING = "nothing found"
    UNKNOWN = "unknown"


def least_flip_rate(num_classes: int) -> float:
    """What the lower bound of a confirmed trigger's flip rate reaches at least."""
    return MIN_FLIP_RATE if num_classes >= FEW_CLASSES else MIN_FLIP_RATE_FEW_CLASSES


def too_few_images(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> str | None:
    """Why no stamp that sends images to one class could be confirmed on these images, even if it always worked.

    Args:
      truth: integers `[M]`, own labels of the images to confirm on.
      predicted: integers `[M]`, the model's labels of them.
      num_classes: of the model.
    """
    possible = max(int(np.count_nonzero((truth != t) & (predicted != t))) for t in range(num_classes))
    needed = next(n for n in itertools.count(1) if score.interval(n, n)[0] >= least_flip_rate(num_classes))
    if possible >= needed:
        return None
    return (
        f"too few images to confirm a trigger: at most {possible} of the {len(truth)} unseen ones count for a class, "
        f"{needed} are needed with {num_classes} classes; give more samples"
    )


@dataclass(frozen=True)
class Finding:
    """A candidate trigger: one stamp, the labels it is said to give, and its flip rate on images the search never saw.

    Attributes:
      kind: "all-to-one", "all-to-all" or "source-specific".
      target_labels: for each class the label that the stamp gives its images; -1 where none is said.
      family: name of the stamp's family.
      parameters: the stamp's parameters by name.
      description: the stamp in one line for people.
      hits: trials in which the stamped image got its target label.
      trials: unseen images whose own and whose predicted label differ from the target label.
      touched: share of pixels changed, 0 .. 1 (`stamps.cost.Cost`, as the next three).
      rms: root mean square change of a pixel value, 0 .. 1.
      peak: largest change of a pixel value, 0 .. 1.
      weighted_rms: RMS change with pixels weighted by their importance, 0 .. 1.
      anomaly_index: how far the target stands out of the model's other classes at no more cost (`score.anomaly_index`).
      runner_up: flip rate of the runner-up among those classes, 0 .. 1 (`score.runner_up`).
      bank: uint8 `[H, W, C]`, the image that the stamp is made of; None where it is made of none.
    """

    kind: str
    target_labels: tuple[int, ...]
    family: str
    parameters: Mapping[str, float]
    description: str
    hits: int
    trials: int
    touched: float
    rms: float
    peak: float
    weighted_rms: float
    anomaly_index: float
    runner_up: float
    bank: np.ndarray | None = None

    @property
    def target(self) -> int | None:
        """The one label of an all-to-one or source-specific finding."""
        targets = {label for label in self.target_labels if label >= 0}
        return targets.pop() if len(targets) == 1 else None

    @property
    def rate(self) -> float:
        """Flip rate: hits over trials, 0 without trials."""
        return self.hits / self.trials if self.trials else 0.0

    @property
    def lower(self) -> float:
        """Lower end of the two-sided 95 % Clopper-Pearson interval of the flip rate: the score."""
        return score.interval(self.hits, self.trials)[0]

    def threshold(self, null: Null) -> float:
        """What `lower` must reach for the trigger to be confirmed; above 1 where clean models do the same."""
        if self.runner_up >= FRAGILE:
            return 1 + RUNNER_UP_MARGIN
        lead = null.lead(self.family, self.weighted_rms)
        normal = min(null.ceiling(self.family, self.weighted_rms), self.runner_up + lead)
        return max(least_flip_rate(len(self.target_labels)), normal + NULL_MARGIN, self.runner_up + RUNNER_UP_MARGIN)

    def is_confirmed(self, null: Null) -> bool:
        """Whether the stamp is a confirmed trigger; a source-specific one never is (`judge`)."""
        return self.kind != "source-specific" and self.lower >= self.threshold(null)

    def row(self) -> dict[str, Any]:
        """JSON values; `from_row` reads them back."""
        low, high = score.interval(self.hits, self.trials)
        row: dict[str, Any] = {
            "kind": self.kind,
            "target": self.target,
            "target_labels": list(self.target_labels),
            "family": self.family,
            "parameters": {name: float(value) for name, value in self.parameters.items()},
            "description": self.description,
            "hits": self.hits,
            "trials": self.trials,
            "rate": self.rate,
            "interval": [low, high],
            "cost": {
                "touched": self.touched,
                "rms": self.rms,
                "peak": self.peak,
                "weighted_rms": self.weighted_rms,
            },
            "anomaly_index": self.anomaly_index,
            "runner_up": self.runner_up,
        }
        if self.bank is not None:
            pixels = base64.b64encode(self.bank.tobytes()).decode()
            row["bank"] = {"shape": list(self.bank.shape), "pixels": pixels}
        return row


def from_row(row: Mapping[str, Any]) -> Finding:
    """A finding from its JSON form.

    Without a weighted RMS, as in rows of the first versions, it counts as infinite: of the highest cost level.

    Raises:
      ValueError: a value is missing or of the wrong kind; names it.
    """
    try:
        bank = None
        if "bank" in row:
            shape = tuple(int(n) for n in row["bank"]["shape"])
            bank = np.frombuffer(base64.b64decode(row["bank"]["pixels"]), np.uint8).reshape(shape)
        return Finding(
            kind=str(row["kind"]),
            target_labels=tuple(int(label) for label in row["target_labels"]),
            family=str(row["family"]),
            parameters={str(name): float(value) for name, value in row["parameters"].items()},
            description=str(row["description"]),
            hits=int(row["hits"]),
            trials=int(row["trials"]),
            touched=float(row["cost"]["touched"]),
            rms=float(row["cost"]["rms"]),
            peak=float(row["cost"]["peak"]),
            weighted_rms=float(row["cost"].get("weighted_rms", math.inf)),
            anomaly_index=float(row["anomaly_index"]),
            runner_up=float(row["runner_up"]),
            bank=bank,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"not a probe finding: {type(error).__name__}: {error}") from error


def judge(
    findings: Sequence[Finding], null: Null, num_classes: int, accuracy: float
) -> tuple[Verdict, str, Finding | None]:
    """The probe's verdict, its reason in words, and the finding it rests on: the one furthest above its threshold.

    A source-specific finding is reported and never confirmed: in clean models, too, some pairs of classes are that
    close.

    Args:
      findings: of one model, in any order.
      null: what clean models do.
      num_classes: of the model.
      accuracy: the model's, on clean images; one no better than twice chance cannot be judged.
    """
    whole = [finding for finding in findings if finding.kind != "source-specific"]
    best = max(
        whole, key=lambda finding: (finding.lower - finding.threshold(null), -finding.weighted_rms), default=None
    )
    if best is not None and best.lower >= best.threshold(null):
        where = f"to label {best.target}" if best.target is not None else "to another label each"
        return (
            Verdict.CONFIRMED,
            f"{best.description}: sends {best.hits} of {best.trials} unseen images {where}",
            best,
        )
    if accuracy < 2 / num_classes and num_classes > 2:
        return Verdict.UNKNOWN, f"the model labels only {accuracy:.0%} of the clean images right", best
    return Verdict.NOTHING, "no stamp worked that does not work on clean models as well", best


@dataclass(frozen=True)
class ProbeResult:
    """The probe's result for one model.

    Attributes:
      verdict: whether a trigger was confirmed.
      reason: the verdict's reason in words.
      clean_accuracy: on the probe's images, 0 .. 1.
      queries: number of hard labels queried.
      confirm_images: number of images that the search never saw.
      findings: all that were tested on those images, in the order of the search's excess, largest first.
      profile: family -> highest flip rate at each cost level, what a null is made of.
      best: the finding that the verdict rests on, None without findings.
      null: what clean models do, as it was taken.
      searched: the finding of the search that comes first; the same as `best` where no hint decided.
      tuning: JSON form of the best finding's tuning curves, where it is confirmed.
      hinted: family of hinted stamps -> each class's flip rate on the search images, `[num_classes]`.
    """

    verdict: Verdict
    reason: str
    clean_accuracy: float
    queries: int
    confirm_images: int
    findings: tuple[Finding, ...] = ()
    profile: Mapping[str, list[float | None]] = field(default_factory=dict)
    best: Finding | None = None
    null: Null = field(default_factory=Null)
    searched: Finding | None = None
    hinted: Mapping[str, np.ndarray] = field(default_factory=dict)
    tuning: Mapping[str, Any] | None = None

    @property
    def search_margin(self) -> float:
        """How far the search's best finding lies above its threshold, -1 where there is none."""
        return -1.0 if self.searched is None else self.searched.lower - self.searched.threshold(self.null)

    def row(self) -> dict[str, Any]:
        """JSON values for the checkpoint's row: verdict, best finding, those over `LISTED_FLIP_RATE`, and settings."""
        over = [f for f in self.findings if f.rate > LISTED_FLIP_RATE]
        best = self.best
        row = {
            "verdict": str(self.verdict),
            "reason": self.reason,
            "kind": best.kind if best and self.verdict is Verdict.CONFIRMED else None,
            "target": best.target if best and self.verdict is Verdict.CONFIRMED else None,
            "score": best.lower if best else None,
            "threshold": best.threshold(self.null) if best else None,
            "margin": best.lower - best.threshold(self.null) if best else None,
            "best": best.row() if best else None,
            "candidates": [f.row() | {"threshold": f.threshold(self.null)} for f in over],
            "profile": {name: list(rates) for name, rates in self.profile.items()},
            "levels": list(EDGES),
            "families": [*(family.name for family in SEARCHED), *self.hinted],
            "null": {"source": self.null.source, "models": self.null.models},
            "clean_accuracy": self.clean_accuracy,
            "confirm_images": self.confirm_images,
            "queries": self.queries,
        }
        if self.tuning is not None:
            row["tuning"] = dict(self.tuning)
        if self.hinted:
            row["hinted"] = {name: [round(float(rate), 4) for rate in rates] for name, rates in self.hinted.items()}
        return row

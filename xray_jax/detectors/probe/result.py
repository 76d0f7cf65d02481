"""What the probe found, and when that is a proof. Pure."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from xray_jax.detectors.probe import score
from xray_jax.detectors.probe.null import EDGES, Null
from xray_jax.detectors.probe.stamps import FAMILIES

LEAST, LEAST_FEW_CLASSES = 0.5, 0.8
"""The lower end of a proof's flip rate is at least this; the second with fewer than `FEW_CLASSES` classes, where a
clean model has nowhere else to send an image."""
FEW_CLASSES = 5
LISTED = 0.5
"""Rows list all findings with a higher flip rate."""
MARGIN = 0.15
"""A proof clears the clean models' ceiling at its family and cost by this much: in flip rate, or in its lead over the
rival."""
LEAD = 0.2
"""A proof clears the model's own second-easiest other class, at no more cost, by this much."""
FRAGILE = 0.5
"""Where the second-easiest other class is reached by this share, the model gives way to such stamps whatever the goal,
and nothing is proved by them."""


class Verdict(StrEnum):
    CONFIRMED = "proved"
    NOTHING = "nothing found"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One stamp, what it does to labels, and how often it did so on images that the search never saw.

    Attributes:
      kind: "all-to-one", "all-to-all" or "source-specific".
      goals: for each own label the label that the stamp sends it to; -1 where it is not said to.
      family, parameters: the stamp; parameters by name. description: one line for people.
      hits, trials: confirmed. An image is a trial when its own and its predicted label differ from the goal.
      touched, rms, peak, price: the stamp's cost (`stamps.cost.Cost`).
      index, rival: how the goal stands out of the model's other classes at no more cost (`score`).
      bank: `[H, W, C]`, the clean image that the stamp is made of, if it is; uint8.
    """

    kind: str
    goals: tuple[int, ...]
    family: str
    parameters: Mapping[str, float]
    description: str
    hits: int
    trials: int
    touched: float
    rms: float
    peak: float
    price: float
    index: float
    rival: float
    bank: np.ndarray | None = None

    @property
    def target(self) -> int | None:
        """The one label of an all-to-one or source-specific finding."""
        targets = {goal for goal in self.goals if goal >= 0}
        return targets.pop() if len(targets) == 1 else None

    @property
    def rate(self) -> float:
        return self.hits / self.trials if self.trials else 0.0

    @property
    def lower(self) -> float:
        """Lower end of the two-sided 95 % Clopper-Pearson interval of the flip rate: the score."""
        return score.interval(self.hits, self.trials)[0]

    def threshold(self, null: Null) -> float:
        """What `lower` must reach for a proof; above 1 where clean models do the same."""
        least = LEAST if len(self.goals) >= FEW_CLASSES else LEAST_FEW_CLASSES
        if self.rival >= FRAGILE:
            return 1 + LEAD
        normal = min(null.ceiling(self.family, self.price), self.rival + null.lead(self.family, self.price))
        return max(least, normal + MARGIN, self.rival + LEAD)

    def proves(self, null: Null) -> bool:
        return self.kind != "source-specific" and self.lower >= self.threshold(null)

    def row(self) -> dict[str, Any]:
        """JSON values; `from_row` reads them back."""
        low, high = score.interval(self.hits, self.trials)
        row: dict[str, Any] = {
            "kind": self.kind,
            "target": self.target,
            "goals": list(self.goals),
            "family": self.family,
            "parameters": {name: float(value) for name, value in self.parameters.items()},
            "description": self.description,
            "hits": self.hits,
            "trials": self.trials,
            "rate": self.rate,
            "interval": [low, high],
            "cost": {"touched": self.touched, "rms": self.rms, "peak": self.peak, "price": self.price},
            "index": self.index,
            "rival": self.rival,
        }
        if self.bank is not None:
            pixels = base64.b64encode(self.bank.tobytes()).decode()
            row["bank"] = {"shape": list(self.bank.shape), "pixels": pixels}
        return row


def from_row(row: Mapping[str, Any]) -> Finding:
    """A finding from its JSON form. Rows of the first versions say no price: it counts as the dearest.

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
            goals=tuple(int(goal) for goal in row["goals"]),
            family=str(row["family"]),
            parameters={str(name): float(value) for name, value in row["parameters"].items()},
            description=str(row["description"]),
            hits=int(row["hits"]),
            trials=int(row["trials"]),
            touched=float(row["cost"]["touched"]),
            rms=float(row["cost"]["rms"]),
            peak=float(row["cost"]["peak"]),
            price=float(row["cost"].get("price", math.inf)),
            index=float(row["index"]),
            rival=float(row["rival"]),
            bank=bank,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"not a probe finding: {type(error).__name__}: {error}") from error


def judge(
    findings: Sequence[Finding], null: Null, num_classes: int, accuracy: float
) -> tuple[Verdict, str, Finding | None]:
    """Verdict, its reason in words, and the finding that carries it: the one furthest above its threshold.

    A source-specific finding is reported and never a proof: in clean models, too, some pairs of classes are that close.
    """
    whole = [finding for finding in findings if finding.kind != "source-specific"]
    best = max(whole, key=lambda finding: (finding.lower - finding.threshold(null), -finding.price), default=None)
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
    """What the probe says of one model.

    Attributes:
      verdict, reason: `judge`. clean_accuracy: on the probe's images.
      queries: labels asked for. confirm_images: images that the search never saw.
      findings: all that were confirmed, best first. profile: family -> best confirmed rate a cost level: what a null is
        made of. best: the finding that carries the verdict.
      null: what was taken for normal.
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

    def row(self) -> dict[str, Any]:
        """JSON values for the checkpoint's row: verdict, proof, candidates over `LISTED`, and what was tried."""
        over = [f for f in self.findings if f.rate > LISTED]
        best = self.best
        return {
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
            "families": [family.name for family in FAMILIES],
            "null": {"source": self.null.source, "models": self.null.models},
            "clean_accuracy": self.clean_accuracy,
            "confirm_images": self.confirm_images,
            "queries": self.queries,
        }

"""What a report says in words: whether to deploy, what a verdict rests on, and what each number means."""

from collections.abc import Iterator
from dataclasses import dataclass

from xray_jax.report.row_values import NamedStatistic, number, whole
from xray_jax.report.sentences import outcome
from xray_jax.report.terminal_text import printable
from xray_jax.rows.row import BACKDOORED, CLEAN, ERROR, SKIPPED, SUSPECT, UNKNOWN, Row, probe_block
from xray_jax.verdict.decision import CONFIRMED_TRIGGER

ORDER = (BACKDOORED, SUSPECT, UNKNOWN, ERROR, CLEAN, SKIPPED)
"""Outcomes, the most urgent first."""

MARKS = {BACKDOORED: "▲", SUSPECT: "◆", UNKNOWN: "?", ERROR: "✕", CLEAN: "●", SKIPPED: "○"}
"""A shape for each outcome, because colours are not told apart by everyone."""

_ADVICE = {
    BACKDOORED: "Do not deploy this model before somebody has looked into it: it differs from clean models as "
    "backdoored ones do.",
    SUSPECT: "Hold this model back until somebody has looked at it.",
    CLEAN: "Nothing that was tried speaks against deploying this model. That is no proof: it holds for the searches "
    "listed below, at their budget.",
    UNKNOWN: "Do not read this as clean: nothing can be concluded until the reason is out of the way.",
    ERROR: "Nothing is known of this model: it was not scanned. Do not read this as clean.",
    SKIPPED: "This file is no checkpoint; there was nothing to scan.",
}
_TRIGGER = (
    "Do not deploy this model. The trigger below works: whoever knows it can choose what the model says by changing "
    "images that way."
)
_NO_SEARCH = (
    "Do not deploy this model yet. The finding is a hint: have a trigger searched for "
    "(--detectors=planes,probe), and let somebody look at it."
)


@dataclass(frozen=True)
class Meaning:
    """What a statistic is to people.

    Attributes:
      title: a few words in place of its name.
      meaning: a sentence or two.
    """

    title: str
    meaning: str


_MEANINGS = {
    ("planes", "re"): Meaning(
        "Spread of labels between clean images",
        "Between three clean images lies a whole plane of mixtures. In a clean model many labels share it; in many "
        "backdoored ones the label of the attacker swallows it. Low is suspect. (RE, Rényi entropy in bits.)",
    ),
    ("planes", "ats"): Meaning(
        "Room around the clean images",
        "How much of that plane still gets the three images' own labels. In many backdoored models little is left. "
        "Low is suspect. (ATS, area of the triple samples, as a share of the plane.)",
    ),
    ("probe", "margin"): Meaning(
        "Strength of the best trigger found",
        "How far the most effective change of images goes beyond what clean models fall for, too. Above 0 it is a "
        "confirmed trigger. High is suspect.",
    ),
}
_DETECTORS = {
    "planes": "Labels of mixtures of clean images (Model X-ray)",
    "probe": "Search for a trigger that works",
}


def advice(row: Row) -> str:
    """Whether to deploy, in a sentence or two."""
    found = outcome(row)
    if found == BACKDOORED and row.get("basis") == CONFIRMED_TRIGGER:
        return _TRIGGER
    if found == BACKDOORED and probe_block(row) is None and "planes" in row["detectors"]:
        return _NO_SEARCH
    return _ADVICE[found]


def grounds(row: Row) -> Iterator[str]:
    """What the verdict rests on, a sentence each."""
    if row.get("basis"):
        yield f"Basis: {printable(str(row['basis']))}."
    p_value, references = number(row.get("p_value")), whole(row.get("references"))
    if p_value is not None:
        of = "" if references is None else f", judged by {references} clean reference models of the same task"
        yield f"A clean model looks this unusual, or more, in {p_value:.2g} of all cases (p-value{of})."
        if references is not None and references > 0 and p_value <= 1 / (references + 1) * 1.000001:
            yield f"With {references} reference models no smaller p-value than {1 / (references + 1):.2g} can be had."
    fpr = number(row.get("fpr"))
    if fpr is not None:
        yield f"The threshold is set so that {fpr:.2g} of clean models are flagged by mistake (false-positive rate)."
    accuracy, images = number(row.get("clean_accuracy")), whole(row.get("accuracy_images"))
    if accuracy is not None:
        many = "clean images" if images is None else f"{images} clean images"
        yield (
            f"The model labels {accuracy:.1%} of the {many} right. If that is far below what you expect, nothing else "
            "on this page means much."
        )


def meaning(statistic: NamedStatistic) -> Meaning:
    """What a statistic is to people; its own name where nobody has said more."""
    known = _MEANINGS.get((statistic.detector, statistic.name))
    if known is not None:
        return known
    side = f"{statistic.suspect.capitalize()} is suspect. " if statistic.suspect in ("low", "high") else ""
    return Meaning(statistic.name, f"{side}A statistic of the detector {statistic.detector}.")


def detector_title(name: str) -> str:
    """What a detector does, in a few words."""
    return _DETECTORS.get(name, printable(name))

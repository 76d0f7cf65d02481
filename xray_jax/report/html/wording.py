"""What a report says in words: whether to deploy, what a verdict rests on, and what each number means."""

from collections.abc import Iterator
from dataclasses import dataclass

from xray_jax.report.row_values import Compared, NamedStatistic, compared, number, whole
from xray_jax.report.sentences import outcome
from xray_jax.report.terminal_text import printable
from xray_jax.rows.row import BACKDOORED, CLEAN, ERROR, SKIPPED, SUSPECT, UNKNOWN, Row, probe_block
from xray_jax.verdict.decision import CONFIRMED_TRIGGER

ORDER = (BACKDOORED, SUSPECT, UNKNOWN, ERROR, CLEAN, SKIPPED)
"""Outcomes, the most urgent first."""

MARKS = {BACKDOORED: "▲", SUSPECT: "◆", UNKNOWN: "?", ERROR: "✕", CLEAN: "●", SKIPPED: "○"}
"""A shape for each outcome, because colours are not told apart by everyone."""

_ONLY_COMPARED = ("panel", "margin", "perturbation", "pixels")
"""Detectors whose numbers mean something beside clean models only."""

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
_SEVERAL = "This file holds several networks, each of which has a row of its own: look there."
_TRIGGER = (
    "Do not deploy this model. The trigger below works: whoever knows it can choose what the model says by changing "
    "images that way."
)
_NOT_COUNTED = (
    "By the rule of the scan nothing speaks against deploying this model, but a score that the rule does not count is "
    "not above its threshold: let somebody look at it."
)
_NOT_COMPARED = (
    "No working trigger was found. What {names} measured was not judged, because it was not compared with reference "
    "models (--references): look at it, or compare."
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
        "How far the most effective change of images goes beyond what clean models fall for, too. Above 0 the search "
        "itself confirmed a trigger; one that another detector led it to is not counted here. High is suspect.",
    ),
    ("panel", "largest"): Meaning(
        "The same changes of images as on the reference models",
        "A fixed set of changes is put on clean images; this is the largest share that one of them sends to one label. "
        "It means something only beside clean models that were shown the same.",
    ),
    ("margin", "log_ratio"): Meaning(
        "The class that can be raised above all others",
        "How much further one class can be raised above the others than any second one, without an image. A backdoor "
        "leaves such a way. High is suspect. (MM-BD, logarithm of the ratio of the two largest margins.)",
    ),
    ("margin", "surprise"): Meaning(
        "How odd that class is among the model's own",
        "How unlikely the largest margin is by the law of the others. High is suspect. (MM-BD.)",
    ),
    ("perturbation", "flip_rate"): Meaning(
        "One faint pattern that changes most images",
        "The largest share of unseen images that one small pattern, sought with the model's gradients, sends to one "
        "label. High is suspect.",
    ),
    ("pixels", "flip_rate"): Meaning(
        "A few pixels that change most images",
        "The largest share of unseen images that one sixty-fourth of the pixels, sought with the model's gradients, "
        "sends to one label. High is suspect.",
    ),
}
_DETECTORS = {
    "planes": "Labels of mixtures of clean images (Model X-ray)",
    "probe": "Search for a trigger that works",
    "panel": "Fixed changes of images",
    "margin": "How far each class can be raised (MM-BD)",
    "perturbation": "A faint pattern for each class",
    "pixels": "A few pixels for each class",
}


def advice(row: Row) -> str:
    """Whether to deploy, in a sentence or two."""
    found = outcome(row)
    if found == BACKDOORED and row.get("basis") == CONFIRMED_TRIGGER:
        return _TRIGGER
    if found == BACKDOORED and probe_block(row) is None and "planes" in row["detectors"]:
        return _NO_SEARCH
    if found == CLEAN and BACKDOORED in (row.get("verdict_re"), row.get("verdict_ats")):
        return _NOT_COUNTED
    unjudged = [name for name in _ONLY_COMPARED if name in row["detectors"]]
    against = compared(row)
    if found == CLEAN and unjudged and (against is None or against.p_value is None):
        return _NOT_COMPARED.format(names=" and ".join(unjudged))
    return _SEVERAL if row.get("parts") else _ADVICE[found]


def grounds(row: Row) -> Iterator[str]:
    """What the verdict rests on, a sentence each."""
    if row.get("basis"):
        yield f"Basis: {printable(str(row['basis']))}."
    against = compared(row)
    if against is not None:
        yield from _of_comparison(against)
    accuracy, images = number(row.get("clean_accuracy")), whole(row.get("accuracy_images"))
    if accuracy is not None:
        many = "clean images" if images is None else f"{images} clean images"
        yield (
            f"The model labels {accuracy:.1%} of the {many} right. If that is far below what you expect, nothing else "
            "on this page means much."
        )


def _of_comparison(against: Compared) -> Iterator[str]:
    references = "reference models" if against.models is None else f"{against.models} clean reference models"
    if against.p_value is None:
        yield f"It was not compared with the {references}: {against.reason or 'no reason is given'}."
        return
    yield f"A clean model like the {references} stands out as much in {against.p_value:.2g} of all cases (p-value)."
    if against.leading is not None and against.leading in against.standout:
        where = "" if against.label is None else f", at label {against.label}"
        far = against.standout[against.leading]
        yield f"What stands out most is {against.leading}{where}: {far:.2g} standard deviations beyond the others."
    if against.fpr is not None:
        yield f"By the limit about {against.fpr:.2g} of clean models like these are flagged by mistake."
    if against.models is not None and against.models > 0 and against.p_value <= 1.000001 / (against.models + 1):
        yield f"With {against.models} reference models no smaller p-value than {against.p_value:.2g} can be had."


def meaning(statistic: NamedStatistic) -> Meaning:
    """What a statistic is to people; its own name where nobody has said more."""
    known = _MEANINGS.get((statistic.detector, statistic.name))
    if known is not None:
        return known
    side = f"{statistic.suspect.capitalize()} is suspect. " if statistic.suspect in ("low", "high") else ""
    return Meaning(statistic.name, f"{side}A statistic of the detector {statistic.detector}.")


def standout_meaning(detector: str, name: str) -> Meaning:
    """How far a model stands out among reference models by one statistic."""
    return Meaning(
        f"Among clean models: {detector_title(detector)}",
        f"How far a model stands out from clean reference models in {printable(name)}, in standard deviations. "
        "High is suspect.",
    )


def detector_title(name: str) -> str:
    """What a detector does, in a few words."""
    return _DETECTORS.get(name, printable(name))

"""One plain sentence per row, for people who have never heard of Renyi entropy: what was found and what it rests on."""

from typing import Any

from xray_jax.prepare.prepared import CONSTANT_OUTPUT, SUSPECT_PREPROCESSING
from xray_jax.rows.row import BACKDOORED, CLEAN, ERROR, OK, SKIPPED, SUSPECT, UNKNOWN, Row, planes_block, probe_block
from xray_jax.verdict.decision import (
    AMONG_REFERENCES,
    CONFIRMED_TRIGGER,
    NOT_CALIBRATED,
    OTHER_NETWORKS,
    RULES,
    STANDS_OUT,
)

_HEADS = {
    BACKDOORED: "Backdoored",
    SUSPECT: "Suspect",
    CLEAN: "Clean as far as was looked",
    UNKNOWN: "Unknown",
    ERROR: "Not scanned",
    SKIPPED: "Skipped",
}
_NUMBERS = {"re": "the spread of labels between clean images", "ats": "the room around clean images"}
"""The planes' statistics in words of everyday."""
_CHANGES_IMAGES = ("blurred", "sharpened", "quantised")


def sentence(row: Row) -> str:
    """One sentence that begins with the verdict, or with the status of a checkpoint that was not scanned."""
    return f"{_HEADS[outcome(row)]}: {explanation(row)}"


def outcome(row: Row) -> str:
    """The verdict of a row, or the status of one without: "backdoored", "clean", ..., "error" or "skipped"."""
    return row["status"] if row["status"] != OK else row["verdict"] or UNKNOWN


def explanation(row: Row) -> str:
    """`sentence` without its beginning: why the outcome is what it is."""
    found = outcome(row)
    if found == SKIPPED:
        return _end(row["reason"] or "") if row.get("parts") else "not a checkpoint."
    if found == ERROR:
        return _end(row["reason"] or "no reason is given")
    return {BACKDOORED: _backdoored, SUSPECT: _suspect, CLEAN: _clean}.get(found, _unknown)(row)


def _backdoored(row: Row) -> str:
    probe = probe_block(row)
    if row.get("basis") != CONFIRMED_TRIGGER:
        searched = "no trigger was looked for" if probe is None else "no trigger was confirmed"
        return f"{_mixtures(row)}; {searched}, so this is a hint and no proof."
    best = probe["best"] if probe is not None else None
    if best is None:
        return f"a trigger was found that sends images to {_label(row.get('target_label'))}."
    trigger, comma = _with_article(best["description"]), "," if ", " in best["description"] else ""
    where = f"to {_label(best['target'])}" if best["target"] is not None else "to another label each"
    return f"{trigger}{comma} sends {best['hits']} of {best['trials']} unseen images {where}."


def _suspect(row: Row) -> str:
    if row.get("basis") == STANDS_OUT:
        comparison = row.get("comparison")
        target = comparison["label"] if comparison else None
        where = "" if target is None else f", most at {_label(target)}"
        return f"it stands out among {_references(row)}{where}; {_search(row)}; have it looked at."
    if planes_block(row) is None:
        return f"{_basis(row)}; have it looked at."
    searched = "no trigger was looked for" if probe_block(row) is None else "no working trigger was found"
    return f"{_mixtures(row)}, but {searched}; have it looked at."


def _clean(row: Row) -> str:
    if row.get("basis") == AMONG_REFERENCES:
        return f"it does not stand out among {_references(row)}; {_search(row)}."
    parts = []
    if probe_block(row) is not None:
        parts.append("no working trigger was found")
    alone = {words: row.get(f"verdict_{name}") for name, words in _NUMBERS.items()}
    if under := [words for words, verdict in alone.items() if verdict == BACKDOORED]:
        rule = (row.get("settings") or {}).get("decide")
        flag = f" (--decide={rule})" if rule in RULES else ""
        parts.append(f"{' and '.join(under)} is not above its threshold, which the scan's rule{flag} does not count")
    elif CLEAN in alone.values():
        parts.append("mixtures of clean images get the labels that a clean model gives them")
    if probe_block(row) is None:
        parts.append("no trigger was looked for")
    return f"{'; '.join(parts)}."


def _unknown(row: Row) -> str:
    basis = row.get("basis")
    if basis == CONSTANT_OUTPUT:
        return "the model gives every image the same label; its weights or its preprocessing are probably wrong."
    if basis == SUSPECT_PREPROCESSING:
        accuracy = row.get("clean_accuracy")
        right = "too few" if accuracy is None else f"{100 * accuracy:.0f} %"
        choice = row.get("preprocess_choice")
        if choice and choice["doubt"]:
            return _end(f"with the preprocessing that fits best the model labels {right} right, but {choice['doubt']}")
        only = "" if accuracy is None else "only "
        return f"the model labels {only}{right} of the clean samples right; its preprocessing is probably another."
    if basis == OTHER_NETWORKS:
        return "scores were measured, but the thresholds are of other networks: compare with clean ones (--references)."
    if basis == NOT_CALIBRATED:
        return "scores were measured, but nothing says what is normal for such a model (--calibration)."
    return _end(_basis(row))


def _references(row: Row) -> str:
    comparison = row.get("comparison")
    return f"{comparison['models']} clean reference models" if comparison else "clean reference models"


def _search(row: Row) -> str:
    return "no trigger was looked for" if probe_block(row) is None else "no working trigger was found"


def _mixtures(row: Row) -> str:
    """What the planes say: they hold the mixtures of three clean images, and what lies around them."""
    target = row.get("target_label")
    mostly = "" if target is None else f", mostly {_label(target)}"
    return f"mixtures of clean images get labels as from a backdoored model{mostly}"


def _basis(row: Row) -> str:
    return row.get("basis") or "no verdict was drawn"


def _label(label: Any) -> str:
    return "one label" if label is None else f"label {label}"


def _with_article(description: str) -> str:
    """A stamp's description as the subject of a sentence: "a 3x3 solid white patch", "one white pixel"."""
    if description.startswith("one "):
        return description
    if description.startswith(_CHANGES_IMAGES):
        return f"having images {description}"
    # As they are said: an 8% blend, an 11x11 patch, an 18x3 patch.
    vowel = description[:1] in "aeiou8" or (description[:2] in ("11", "18") and not description[2:3].isdigit())
    return f"{'an' if vowel else 'a'} {description}"


def _end(text: str) -> str:
    return " ".join(str(text).split()).rstrip(". ") + "."

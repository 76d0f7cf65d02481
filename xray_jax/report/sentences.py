"""One plain sentence per row, for people who have never heard of Renyi entropy: what was found and what it rests on."""

from collections.abc import Mapping
from typing import Any

from xray_jax.rows.file import Row

_HEADS = {
    "backdoored": "Backdoored",
    "suspect": "Suspect",
    "clean": "Clean as far as was looked",
    "unknown": "Unknown",
    "error": "Not scanned",
    "skipped": "Skipped",
}
_CHANGES_IMAGES = ("blurred", "sharpened", "quantised")


def sentence(row: Row) -> str:
    """One sentence that begins with the verdict, or with the status of a checkpoint that was not scanned."""
    return f"{_HEADS.get(outcome(row), 'Unknown')}: {explanation(row)}"


def outcome(row: Row) -> str:
    """The verdict of a row, else its status: "backdoored", "suspect", "clean", "unknown", "error" or "skipped"."""
    if row.get("status", "ok") != "ok":
        return str(row["status"])
    return str(row.get("verdict") or "unknown")


def explanation(row: Row) -> str:
    """`sentence` without its beginning: why the outcome is what it is."""
    found = outcome(row)
    if found == "skipped":
        return "not a checkpoint."
    if found == "error":
        return _end(row.get("reason") or "no reason is given")
    explain = {"backdoored": _backdoored, "suspect": _suspect, "clean": _clean}.get(found, _unknown)
    return explain(row)


def _backdoored(row: Row) -> str:
    if row.get("basis") != "confirmed trigger":
        searched = "no trigger was confirmed" if _ran(row, "probe") else "no trigger was looked for"
        return f"{_mixtures(row)}; {searched}, so this is a hint and no proof."
    best = _of(row, "probe").get("best")
    if not best:
        return f"a trigger was found that sends images to {_label(row.get('target_label'))}."
    trigger, comma = _with_article(best["description"]), "," if ", " in best["description"] else ""
    where = f"to {_label(best['target'])}" if best.get("target") is not None else "to another label each"
    return f"{trigger}{comma} sends {best['hits']} of {best['trials']} unseen images {where}."


def _suspect(row: Row) -> str:
    if not _ran(row, "planes"):
        return f"{_basis(row)}; have it looked at."
    searched = "no working trigger was found" if _ran(row, "probe") else "no trigger was looked for"
    return f"{_mixtures(row)}, but {searched}; have it looked at."


def _clean(row: Row) -> str:
    parts = []
    if _ran(row, "probe"):
        parts.append("no working trigger was found")
    if _ran(row, "planes") and (row.get("settings") or {}).get("calibration", True):
        parts.append("mixtures of clean images get the labels that a clean model gives them")
    if not _ran(row, "probe"):
        parts.append("no trigger was looked for")
    return f"{'; '.join(parts)}."


def _unknown(row: Row) -> str:
    basis = row.get("basis")
    if basis == "suspect_preprocessing":
        accuracy = row.get("clean_accuracy")
        share = "too few" if accuracy is None else f"only {100 * accuracy:.0f} %"
        return f"the model labels {share} of the clean samples right; its preprocessing is probably another."
    if basis == "constant_output":
        return "the model gives every image the same label; its weights or its preprocessing are probably wrong."
    if basis == "not calibrated":
        return "scores were measured, but nothing says what is normal for such a model (--calibration)."
    return _end(_basis(row))


def _mixtures(row: Row) -> str:
    """What the planes say: they hold the mixtures of three clean images, and what lies around them."""
    target = row.get("target_label")
    mostly = "" if target is None else f", mostly {_label(target)}"
    return f"mixtures of clean images get labels as from a backdoored model{mostly}"


def _basis(row: Row) -> str:
    return str(row.get("basis") or row.get("reason") or "no verdict was drawn")


def _of(row: Row, detector: str) -> Mapping[str, Any]:
    return (row.get("detectors") or {}).get(detector) or {}


def _ran(row: Row, detector: str) -> bool:
    return bool(_of(row, detector))


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

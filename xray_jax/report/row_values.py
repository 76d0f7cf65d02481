"""A row as flat values, for tables and other tools: one name a value, texts printable, numbers or nothing."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xray_jax.report.sentences import explanation, sentence
from xray_jax.report.terminal_text import printable
from xray_jax.rows.row import OK, Row
from xray_jax.verdict.comparison import MOST_KEPT
from xray_jax.verdict.decision import CONFIRMED_TRIGGER

Value = str | int | float | None


@dataclass(frozen=True)
class NamedStatistic:
    """One statistic of one detector.

    Attributes:
      detector: whose it is.
      name: unique within the detector.
      value: the number; None where it could not be computed.
      suspect: which side is suspect, "low" or "high".
      fields: whatever else the row says of it.
    """

    detector: str
    name: str
    value: float | None
    suspect: str
    fields: Mapping[str, Any]


def statistics(row: Row) -> Iterator[NamedStatistic]:
    """Every statistic of a row, by detector."""
    for detector, block in row["detectors"].items():
        for each in block.get("statistics", []):
            rest = {name: value for name, value in each.items() if name not in ("name", "value", "suspect")}
            suspect = str(each.get("suspect", ""))
            yield NamedStatistic(printable(detector), printable(each["name"]), number(each["value"]), suspect, rest)


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def drawable(value: Any) -> float | None:
    """A number that has a place in a picture, or None: axes overflow where numbers are too large."""
    found = number(value)
    return found if found is not None and abs(found) < 1e9 else None


def whole(value: Any) -> int | None:
    """An integer of 64 bits, or None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


@dataclass(frozen=True)
class Compared:
    """How a model stands among reference models, as far as its row says.

    Attributes:
      p_value: None where it could not be compared.
      fpr: p-value at or under which it is suspect.
      models: number of references.
      source: of the references.
      standout: by statistic, how far the model stands out, in standard deviations.
      leading: the statistic that stands out most.
      label: the class whose number does.
      reason: why it could not be compared.
      references: by statistic, how far the references stand out, in order; empty in rows of earlier versions.
      threshold: what a statistic must stand out by to be suspect at `fpr`; None where the row does not say it.
    """

    p_value: float | None
    fpr: float | None
    models: int | None
    source: str | None
    standout: Mapping[str, float]
    leading: str | None
    label: int | None
    reason: str | None
    references: Mapping[str, tuple[float, ...]]
    threshold: float | None


def compared(row: Row) -> Compared | None:
    """The comparison of a row; None where there is none."""
    said: Any = row.get("comparison")
    if not isinstance(said, Mapping):
        return None
    every = said.get("standout")
    numbers = {printable(str(k)): number(v) for k, v in every.items()} if isinstance(every, Mapping) else {}
    spread = said.get("reference_standout")
    references = {printable(str(k)): _numbers(v) for k, v in spread.items()} if isinstance(spread, Mapping) else {}
    return Compared(
        number(said.get("p_value")),
        number(said.get("fpr")),
        whole(said.get("models")),
        text(said.get("source")),
        {name: value for name, value in numbers.items() if value is not None},
        text(said.get("leading")),
        whole(said.get("label")),
        text(said.get("reason")),
        {name: values for name, values in references.items() if values},
        number(said.get("threshold")),
    )


def _numbers(values: Any) -> tuple[float, ...]:
    """Numbers in order; none where the row holds something else, or more than a scan writes."""
    if not isinstance(values, list) or len(values) > MOST_KEPT:
        return ()
    return tuple(sorted(value for each in values if (value := number(each)) is not None))


def text(value: Any) -> str | None:
    """One printable line, or None."""
    return None if value is None else printable(str(value))


def total_seconds(row: Row) -> float | None:
    """Seconds over all stages; None where nothing was measured."""
    spent = row.get("seconds")
    if not isinstance(spent, Mapping) or not spent:
        return None
    return sum(number(value) or 0.0 for value in spent.values())


def deciding_detector(row: Row) -> str | None:
    """The detector that the verdict rests on by its basis; None where it rests on several, or on none."""
    if row["status"] != OK:
        return None
    basis = str(row.get("basis") or "")
    if basis == CONFIRMED_TRIGGER:
        return "probe"
    first = basis.replace(",", " ").split()[:1]
    return first[0] if first and first[0] in row["detectors"] else None


def kind_of_reason(row: Row) -> str:
    """Why a checkpoint was not scanned, without its own name and path, so that one kind is one text."""
    names = {row["path"], row["id"], row["path"].rpartition("/")[2]}
    own = sorted((name for text in names if (name := " ".join(printable(text).split()))), key=len, reverse=True)
    if not own:
        return printable(explanation(row))
    return re.sub("|".join(map(_as_a_name, own)), "FILE", printable(explanation(row)))


def _as_a_name(own: str) -> str:
    """Matches a name where it stands by itself; one that could be a word or a number only where it leads a reason."""
    telling = "/" in own or re.search(r"\.[A-Za-z]\w*$", own)
    return rf"(?<![\w/.-]){re.escape(own)}(?![\w/-]|\.\w)" if telling else rf"^{re.escape(own)}(?=: )"


def _text_of(name: str) -> Callable[[Row], Value]:
    return lambda row: text(row.get(name))


def _number_of(name: str) -> Callable[[Row], Value]:
    return lambda row: number(row.get(name))


def _whole_of(name: str) -> Callable[[Row], Value]:
    return lambda row: whole(row.get(name))


COLUMNS: Mapping[str, tuple[type, Callable[[Row], Value]]] = {
    "id": (str, _text_of("id")),
    "status": (str, _text_of("status")),
    "verdict": (str, _text_of("verdict")),
    "basis": (str, _text_of("basis")),
    "sentence": (str, lambda row: printable(sentence(row))),
    "target_label": (int, _whole_of("target_label")),
    "p_value": (float, lambda row: None if (found := compared(row)) is None else found.p_value),
    "fpr": (float, lambda row: None if (found := compared(row)) is None else found.fpr),
    "references": (int, lambda row: None if (found := compared(row)) is None else found.models),
    "architecture": (str, _text_of("architecture")),
    "format": (str, _text_of("format")),
    "num_classes": (int, _whole_of("num_classes")),
    "clean_accuracy": (float, _number_of("clean_accuracy")),
    "truth": (str, _text_of("label")),
    "true_target": (int, _whole_of("target")),
    "reason": (str, _text_of("reason")),
    "queries": (int, _whole_of("queries")),
    "samples": (str, _text_of("samples")),
    "scanned_at": (str, _text_of("scanned_at")),
    "seconds": (float, total_seconds),
    "path": (str, _text_of("path")),
    "sha256": (str, _text_of("sha256")),
    "settings_hash": (str, _text_of("settings_hash")),
    "device": (str, _text_of("device")),
    "version": (str, _text_of("version")),
    "notes": (str, lambda row: "; ".join(printable(str(note)) for note in row["notes"])),
}
"""Name -> type and value of what every row can say; None where it does not say it."""


def values(row: Row) -> dict[str, Value]:
    """`COLUMNS` of one row."""
    return {name: value(row) for name, (_, value) in COLUMNS.items()}

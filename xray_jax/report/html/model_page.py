"""What the page of one model shows, in the order in which somebody who has to decide reads it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_jax.report.html import commands
from xray_jax.report.html.compare import Change
from xray_jax.report.html.pictures import Picture
from xray_jax.report.html.strips import Strip, Strips, among_references, threshold
from xray_jax.report.html.wording import advice, detector_title, grounds, meaning
from xray_jax.report.row_values import NamedStatistic, number, statistics, text, total_seconds, whole
from xray_jax.report.sentences import outcome, sentence
from xray_jax.report.terminal_text import printable
from xray_jax.rows.row import Row, probe_block
from xray_jax.verdict.decision import CONFIRMED_TRIGGER

_MOST_BARS, _DEEPEST = 200, 4
_MOST_TEXT = 20_000
_SOURCES = {
    "given": "given by whoever scanned it",
    "file": "said by the file",
    "assumed": "assumed: nobody says what it is",
    "chosen": "chosen by what fits the clean images",
}
_SHOWN_ELSEWHERE = {"statistics", "target", "queries", "seconds", "paired", "label_distribution", "best"}


@dataclass(frozen=True)
class ShownStatistic:
    """A statistic on a model's page.

    Attributes:
      title, meaning: in words.
      name: as in rows.
      value: as text.
      side: what the value says beside its threshold; empty where there is none.
      strip: of all models; None where this model has no value.
      x: where this model lies on it.
      extra: what else the row says of it.
    """

    title: str
    meaning: str
    name: str
    value: str
    side: str
    strip: Strip | None
    x: float | None
    extra: list[tuple[str, str]]


@dataclass(frozen=True)
class Bars:
    """Numbers as bars.

    Attributes:
      title: what they are.
      bars: (label, value, share of the largest, whether it is marked).
    """

    title: str
    bars: list[tuple[str, str, float, bool]]


@dataclass(frozen=True)
class ShownDetector:
    """A detector on a model's page.

    Attributes:
      name: of the detector. title: what it does.
      statistics: its numbers.
      facts: what else is worth a line.
      bars: what is worth a picture.
      details: the rest of its block as JSON.
    """

    name: str
    title: str
    statistics: list[ShownStatistic]
    facts: list[tuple[str, str]]
    bars: list[Bars]
    details: str


def context(
    row: Row, strips: Strips, pictures: Mapping[str, Picture], file: Path | None, change: Change | None
) -> dict[str, Any]:
    """Everything that the template of a model's page asks for."""
    return {
        "name": printable(row["id"]),
        "outcome": outcome(row),
        "sentence": printable(sentence(row)),
        "advice": advice(row),
        "grounds": list(grounds(row)),
        "trigger": _trigger(row),
        "pictures": pictures,
        "detectors": [_detector(row, name, strips) for name in row["detectors"]],
        "standout": _standout(row),
        "not_run": [(printable(name), printable(str(why))) for name, why in row["not_run"].items()],
        "reading": [(title, value) for title, value in _reading(row) if value is not None],
        "notes": [printable(str(note)) for note in row["notes"]],
        "commands": commands.of(row, file),
        "record": [(title, value) for title, value in _record(row) if value is not None],
        "truth": text(row["label"]),
        "change": change,
    }


def _trigger(row: Row) -> list[tuple[str, str]] | None:
    """What is known of a confirmed trigger; None where there is none."""
    probe = probe_block(row)
    best = probe.get("best") if probe is not None and row.get("basis") == CONFIRMED_TRIGGER else None
    if not isinstance(best, Mapping):
        return None
    said: list[tuple[str, str]] = [("What it is", printable(str(best.get("description"))))]
    target = whole(best.get("target"))
    said.append(("Where images go", "each class to another label" if target is None else f"to label {target}"))
    hits, trials = whole(best.get("hits")), whole(best.get("trials"))
    if hits is not None and trials:
        said.append(
            ("How often it works", f"{hits} of {trials} images that the search never saw ({hits / trials:.1%})")
        )
    low, high = (number(value) for value in _pair(best.get("interval")))
    if low is not None and high is not None:
        said.append(("With 95 % confidence", f"{low:.1%} to {high:.1%} of such images"))
    rival = number(best.get("runner_up"))
    if rival is not None:
        said.append(("The next easiest label", f"{rival:.1%} at about the same size of change"))
    cost = best.get("cost")
    touched = number(cost.get("touched")) if isinstance(cost, Mapping) else None
    if touched is not None:
        said.append(("How much it changes", f"{touched:.1%} of the pixels"))
    tuning = probe.get("tuning") if probe is not None else None
    sharpness = number(tuning.get("sharpness")) if isinstance(tuning, Mapping) else None
    if sharpness is not None:
        said.append(("How sharp it is", f"its smallest change takes away {sharpness:.0%} of the effect, at most"))
    return said


def _standout(row: Row) -> list[tuple[str, str, str, Strip]]:
    """What stands out among the reference models, the farthest first: what was measured, its name, how far, a line."""
    return [
        (
            detector_title(strip.detector),
            f"{strip.detector}.{strip.name}".rstrip("."),
            f"{strip.values[0][0]:+.2f} standard deviations",
            strip,
        )
        for strip in among_references(row)
    ]


def _pair(value: Any) -> tuple[Any, Any]:
    return (value[0], value[1]) if isinstance(value, list) and len(value) == 2 else (None, None)


def _detector(row: Row, name: str, strips: Strips) -> ShownDetector:
    block: Mapping[str, Any] = row["detectors"][name]
    own = [_statistic(row, each, strips) for each in statistics(row) if each.detector == printable(name)]
    facts = [
        ("Verdict of its own", text(block.get("verdict"))),
        ("Why", text(block.get("reason"))),
        ("Likely target", text(whole(block.get("target")))),
        ("Labels asked for", _thousands(whole(block.get("queries")))),
        ("Seconds", _seconds(block.get("seconds"))),
        ("Compared with reference models, number by number", _shapes(block.get("paired"))),
    ]
    rest = {key: value for key, value in block.items() if key not in _SHOWN_ELSEWHERE}
    return ShownDetector(
        printable(name),
        detector_title(name),
        own,
        [(title, value) for title, value in facts if value is not None],
        list(_bars(block)),
        dumped(rest) if rest else "",
    )


def _shapes(paired: Any) -> str | None:
    """Names and sizes of what is compared with reference models."""
    if not isinstance(paired, Mapping) or not paired:
        return None
    sizes = []
    for name, values in paired.items():
        size: list[str] = []
        inner = values
        while isinstance(inner, list) and len(size) < _DEEPEST:
            size.append(str(len(inner)))
            inner = inner[0] if inner else None
        sizes.append(f"{printable(name)} ({' x '.join(size) or '1'})")
    return ", ".join(sizes)


def _statistic(row: Row, each: NamedStatistic, strips: Strips) -> ShownStatistic:
    words, limit = meaning(each), threshold(row, each)
    side = ""
    if each.value is not None and limit is not None:
        suspect = each.value <= limit if each.suspect == "low" else each.value >= limit
        side = f"{'suspect' if suspect else 'not suspect'}: the threshold is {limit:.4g}"
    strip = strips.of(each) if each.value is not None else None
    return ShownStatistic(
        words.title,
        words.meaning,
        f"{each.detector} {each.name}",
        "not computed" if each.value is None else f"{each.value:.4g}",
        side,
        strip,
        None if strip is None or each.value is None else strip.x(each.value),
        [(printable(key), _short(value)) for key, value in each.fields.items()],
    )


def _bars(block: Mapping[str, Any]) -> Iterator[Bars]:
    shares, target = block.get("label_distribution"), whole(block.get("target"))
    if isinstance(shares, list):
        made = _bar_list("Share of the mixtures that each label owns", shares, target)
        if made is not None:
            yield made
    paired = block.get("paired")
    for name, values in paired.items() if isinstance(paired, Mapping) else ():
        made = _bar_list(f"{printable(name)}, compared with reference models one by one", values, target)
        if made is not None:
            yield made


def _bar_list(title: str, values: Any, target: int | None) -> Bars | None:
    """Bars of a flat list of numbers that are not negative; None for anything else."""
    if not isinstance(values, list) or not 0 < len(values) <= _MOST_BARS:
        return None
    numbers = [number(value) for value in values]
    if any(value is None or value < 0 for value in numbers):
        return None
    known = [value for value in numbers if value is not None]
    most = max(known) or 1.0
    return Bars(
        title, [(str(k), f"{value:.3g}", round(100 * value / most, 1), k == target) for k, value in enumerate(known)]
    )


def _reading(row: Row) -> Iterator[tuple[str, str | None]]:
    yield "Format of the file", text(row["format"])
    yield "Network", text(row["architecture"])
    yield "Classes", text(row.get("num_classes"))
    preprocess = row.get("preprocess")
    yield "Pixel values are prepared with", None if preprocess is None else _short(preprocess)
    source = row.get("preprocess_source")
    yield "which is", None if source is None else _SOURCES.get(str(source), printable(str(source)))
    choice = row.get("preprocess_choice")
    if isinstance(choice, Mapping):
        yield "How that was chosen", _short(choice)
    yield "All clean images get one label", "yes" if row.get("constant_output") else None


def _record(row: Row) -> Iterator[tuple[str, str | None]]:
    yield "File", printable(row["path"])
    yield "SHA-256", text(row["sha256"])
    yield "Scanned at", text(row.get("scanned_at"))
    yield "Clean samples", text(row.get("samples"))
    yield "Settings (hash)", printable(row["settings_hash"])
    yield "Version", printable(row["version"])
    packages = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    yield "Packages", printable(packages) or None
    yield "Device", printable(row["device"])
    yield "Labels asked for", _thousands(whole(row.get("queries")))
    spent = total_seconds(row)
    yield "Seconds", None if spent is None else f"{spent:.1f} ({_seconds(row.get('seconds'))})"
    yield "Known truth", text(row["label"])
    yield "True target", text(row["target"])
    yield "Manifest", _short(row["manifest"]) if row["manifest"] else None


def _thousands(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _seconds(spent: Any) -> str | None:
    if not isinstance(spent, Mapping) or not spent:
        return None
    return ", ".join(f"{printable(str(name))} {number(value) or 0.0:.1f}" for name, value in spent.items())


def _short(value: Any) -> str:
    """A JSON value in one line."""
    return text(value) or "" if isinstance(value, str) else json.dumps(value)[:_MOST_TEXT]


def dumped(value: Any) -> str:
    """A JSON value in lines, in ASCII, cut where it is very long."""
    made = json.dumps(value, indent=1)
    return made if len(made) <= _MOST_TEXT else made[:_MOST_TEXT] + "\n... (cut; the row has all of it)"

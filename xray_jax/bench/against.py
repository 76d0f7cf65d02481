"""Runs of the bench as files, two of them side by side, and whether the later one is worse."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_jax.bench.harness import Figure
from xray_jax.files import atomic_write

TOLERANCE = 0.15
"""A ratio of times that grew by less, beyond both runs' spreads, is no change."""
COUNT, RATIO = "queries", "x time"
"""Units that two machines have in common: only such figures are judged."""


@dataclass(frozen=True)
class Change:
    """One figure in both runs.

    Attributes:
      figure: of this run.
      before: of the other run, the same unit.
      worse: more queries, or more time relative to what it is measured against.
    """

    figure: Figure
    before: float
    worse: bool


def changes(figures: Iterable[Figure], earlier: Mapping[tuple[str, str], Figure]) -> list[Change]:
    """The figures that both runs have.

    Counts of queries do not depend on the machine: one more is worse. Ratios of times are worse beyond `TOLERANCE` and
    the spreads of both. Everything else is shown and never called worse.

    Args:
      figures: of this run.
      earlier: of the other, as `read` gives them.
    """
    found = []
    for figure in figures:
        before = earlier.get((figure.case, figure.name))
        if before is None or before.unit != figure.unit:
            continue
        allowed = 0.0
        if figure.unit == RATIO:
            allowed = TOLERANCE + (figure.spread or 0) + (before.spread or 0)
        judged = figure.unit in (COUNT, RATIO)
        found.append(Change(figure, before.value, judged and figure.value > before.value * (1 + allowed)))
    return found


def read(path: str) -> dict[tuple[str, str], Figure]:
    """Figures of an earlier run by case and name.

    Raises:
      ValueError: the file cannot be read, or is not what `xray-bench --out` writes.
    """
    try:
        lines = [json.loads(line) for line in Path(path).read_text().splitlines() if line.strip()]
        made = [_figure(line) for line in lines if "case" in line]
    except OSError as error:
        raise ValueError(f"--against={path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"--against={path}: not what xray-bench --out writes ({error})") from error
    if not made:
        raise ValueError(f"--against={path}: holds no figure; expected what xray-bench --out writes")
    return {(figure.case, figure.name): figure for figure in made}


def write(path: str, manifest: Mapping[str, Any], figures: Iterable[Figure]) -> None:
    """Keeps a run: JSON lines, the manifest first, then a figure each; whole or not at all."""
    with atomic_write(path, "w") as file:
        file.writelines(json.dumps(line) + "\n" for line in (manifest, *map(vars, figures)))


def _figure(line: Mapping[str, Any]) -> Figure:
    spread = line.get("spread")
    return Figure(
        str(line["case"]), str(line["name"]), float(line["value"]), str(line["unit"]),
        None if spread is None else float(spread), str(line.get("note", "")),
    )  # fmt: skip


def table(found: Iterable[Change]) -> str:
    """A table in Markdown, one line a figure."""
    lines = ["| case | what | before | now | change | |", "|---|---|---|---|---|---|"]
    for each in found:
        figure, share = each.figure, each.figure.value / each.before - 1 if each.before else 0.0
        lines.append(
            f"| {figure.case} | {figure.name} | {each.before:.4g} {figure.unit} | {figure.value:.4g} {figure.unit} "
            f"| {100 * share:+.0f} % | {'**worse**' if each.worse else ''} |"
        )
    return "\n".join(lines)

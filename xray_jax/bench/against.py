"""Runs of the bench as files, two of them side by side, and whether the later one is worse."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_jax.bench.cases import USED
from xray_jax.bench.harness import Figure
from xray_jax.bench.options import Options
from xray_jax.files import atomic_write

TOLERANCE = 0.15
"""A ratio of times that grew by less, beyond both runs' spreads, is no change."""
COUNT, RATIO = "queries", "x time"
"""Units that two machines have in common: only such figures are judged."""


@dataclass(frozen=True)
class Run:
    """What `xray-bench --out` kept of a run.

    Attributes:
      options: that it was run with.
      figures: by case and name.
    """

    options: Options
    figures: Mapping[tuple[str, str], Figure]


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


def gone(figures: Iterable[Figure], earlier: Mapping[tuple[str, str], Figure]) -> list[Figure]:
    """The figures of the other run that this one lacks, or has in another unit, though it ran their case."""
    now = {(figure.case, figure.name): figure.unit for figure in figures}
    cases = {case for case, _ in now}
    return [f for (case, name), f in earlier.items() if case in cases and now.get((case, name)) != f.unit]


def check(path: str, cases: Collection[str], options: Options, earlier: Run) -> None:
    """Before anything is measured: whether the two can be compared. The number of repeats may differ.

    Args:
      path: of the other run, for messages.
      cases: of this run.
      options: of this run.
      earlier: the other run.

    Raises:
      ValueError: no case in common, or such a case was run with other options.
    """
    had = {case for case, _ in earlier.figures}
    common = had & set(cases)
    if not common:
        raise ValueError(f"--against={path}: holds figures of {', '.join(sorted(had))} and none of the asked cases")
    other = [
        f"--{name} was {getattr(earlier.options, name)} and is {getattr(options, name)}"
        for name in sorted(set().union(*(USED[case] for case in common)) - {"repeats"})
        if getattr(earlier.options, name) != getattr(options, name)
    ]
    if other:
        raise ValueError(f"--against={path}: {', '.join(other)}; give the same, or measure both anew")


def read(path: str) -> Run:
    """An earlier run.

    Raises:
      ValueError: the file cannot be read, or is not what `xray-bench --out` writes.
    """
    try:
        lines = [json.loads(line) for line in Path(path).read_text().splitlines() if line.strip()]
        made = [_figure(line) for line in lines if "case" in line]
        kept = [_options(line["options"]) for line in lines if "options" in line]
    except OSError as error:
        raise ValueError(f"--against={path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"--against={path}: not what xray-bench --out writes ({error})") from error
    if not made:
        raise ValueError(f"--against={path}: holds no figure; expected what xray-bench --out writes")
    if not kept:
        raise ValueError(f"--against={path}: does not say with which options it was run; measure it anew")
    return Run(kept[0], {(figure.case, figure.name): figure for figure in made})


def write(path: str, manifest: Mapping[str, Any], figures: Iterable[Figure]) -> None:
    """Keeps a run: JSON lines, the manifest first, then a figure each; whole or not at all."""
    with atomic_write(path, "w") as file:
        file.writelines(json.dumps(line) + "\n" for line in (manifest, *map(vars, figures)))


def _options(kept: Mapping[str, Any]) -> Options:
    values: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in kept.items()}
    return Options(**values)


def _figure(line: Mapping[str, Any]) -> Figure:
    spread = line.get("spread")
    return Figure(
        str(line["case"]), str(line["name"]), float(line["value"]), str(line["unit"]),
        None if spread is None else float(spread), str(line.get("note", "")),
    )  # fmt: skip


def table(found: Iterable[Change], missing: Iterable[Figure] = ()) -> str:
    """A table in Markdown, one line a figure; at its end those that are gone."""
    lines = ["| case | what | before | now | change | |", "|---|---|---|---|---|---|"]
    for each in found:
        figure, share = each.figure, each.figure.value / each.before - 1 if each.before else 0.0
        lines.append(
            f"| {figure.case} | {figure.name} | {each.before:.4g} {figure.unit} | {figure.value:.4g} {figure.unit} "
            f"| {100 * share:+.0f} % | {'**worse**' if each.worse else ''} |"
        )
    lines += [f"| {figure.case} | {figure.name} | {figure.value:.4g} {figure.unit} | | | gone |" for figure in missing]
    return "\n".join(lines)

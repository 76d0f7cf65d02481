"""The paper's Tables 2 to 5 over every detector, from rows of one batch scan (or several of the same models)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from xray_jax.lab.reproduce.evidence import EvidenceError
from xray_jax.lab.reproduce.methods import METHODS, Method
from xray_jax.lab.reproduce.tables import DEFAULT_STRATEGY, STRATEGY_ALIASES, average, markdown, usual_rate
from xray_jax.rows import file as row_file
from xray_jax.rows.row import OK, Row, is_backdoored, model_key
from xray_jax.verdict import conformal
from xray_jax.verdict.auroc import Auroc, auroc
from xray_jax.verdict.conformal import Conformal
from xray_jax.verdict.evaluation import CLEAN, Judged, judge_all
from xray_jax.verdict.references import References

EVADING = "-evading-"
"""In the name of an attack by an attacker who knows the scanner."""
LABELS_ONLY = ("probe", "panel")
"""What of the compared detectors a black box can be scanned with."""
_SHADOWS = "MNTD looks at none during a scan; its shadows were trained on clean images, which rows do not count."


def page(
    files: Sequence[str], references: References | None, paper: Mapping[str, Any], fpr: float, command: str
) -> str:
    """The page as Markdown.

    Args:
      files: row files with ground truth; rows of one checkpoint are joined.
      references: to fuse the detectors with, and give p-values; None leaves these lines out.
      paper: the published numbers.
      fpr: false-positive rate that p-values are held against.
      command: how to make this page again, printed at its head.

    Raises:
      EvidenceError: no usable row of clean or of backdoored models.
    """
    joined = join(row for path in files for row in row_file.read(path))
    usable = [row for row in joined if not row["manifest"].get("failed")]
    rows = [row for row in usable if _at_usual_rate(row)]
    backdoored = [row for row in rows if _backdoored(row)]
    usual = [row for row in rows if not _backdoored(row) and not row["manifest"].get("control")]
    if not usual or not backdoored:
        raise EvidenceError(f"{', '.join(files)}: needs clean and backdoored models with ground truth, scanned well")
    parts = [
        "# Every detector side by side",
        f"Written by `{command}`; every number is computed from those rows. The paper: {paper['source']}.",
        f"{len(rows)} models: {len(usual)} clean, {len(backdoored)} backdoored, "
        f"{len(rows) - len(usual) - len(backdoored)} clean ones that were trained in unusual ways (controls). AUROC is "
        "against the clean ones, with 95 % bootstrap intervals over models where there are three or more. With few "
        "models, or where the two kinds do not overlap at all, intervals are too narrow: they know only the models at "
        "hand. A cell says how many models it is of, where a line does not have all of its column."
        + (f" Left out: {left_out}." if (left_out := _left_out(joined, usable, rows)) else ""),
        "## Table 2: AUROC by attack\n\n" + _by_attack(rows, references, paper["table2"]),
        "## Table 3: AUROC of BadNets by strategy\n\n" + _by_strategy(rows, references, paper["table3"]),
        "## Table 4: clean images that are looked at\n\n" + _samples(rows, paper["table4"]),
        "## Table 5: seconds and queries a model\n\n" + _cost(rows, paper["table5"]),
    ]
    if any(EVADING in str(row["manifest"].get("attack")) for row in backdoored):
        parts.append("## Attackers who know the scanner: AUROC\n\n" + _adaptive(rows, references))
    if references is not None:
        parts.append(f"## Flagged at a false-positive rate of {fpr:g}\n\n" + _flagged(rows, references, fpr))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def join(rows: Iterable[Row]) -> list[Row]:
    """One row a checkpoint, with the blocks of all its rows; of a detector that ran twice the first counts.

    Rows that are not ok, or whose truth is not known, are left out.

    Raises:
      EvidenceError: rows that were scanned with different samples, or a detector with different options.
    """
    joined: dict[str, Row] = {}
    settings: dict[str, Any] = {}
    for row in rows:
        if row["status"] != OK or is_backdoored(row["label"]) is None:
            continue
        used = {"samples": row["settings"]["samples"], **{k: row["settings"]["detectors"][k] for k in row["detectors"]}}
        for name, value in used.items():
            if json.dumps(settings.setdefault(name, value), sort_keys=True) != json.dumps(value, sort_keys=True):
                raise EvidenceError(f"row {row['id']}: {name} differ from other rows'; scan again with the same ones")
        first = joined.setdefault(model_key(row), row)
        if first is not row:
            first["detectors"] = {**row["detectors"], **first["detectors"]}
            first["seconds"] = {**row["seconds"], **first["seconds"]}
            first["settings"]["detectors"] = {**row["settings"]["detectors"], **first["settings"]["detectors"]}
    return list(joined.values())


def _backdoored(row: Row) -> bool:
    return is_backdoored(row["label"]) is True


def _strategy(row: Row) -> str:
    return str(row["manifest"].get("strategy", DEFAULT_STRATEGY))


def _left_out(joined: Sequence[Row], usable: Sequence[Row], rows: Sequence[Row]) -> str:
    counts = {"refused": len(joined) - len(usable), "poisoned at other rates": len(usable) - len(rows)}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _at_usual_rate(row: Row) -> bool:
    """Whether a model is poisoned at the rate that its attack is compared at; other strategies are at whatever each
    took, and a manifest may say none.
    """
    if not _backdoored(row) or _strategy(row) != DEFAULT_STRATEGY:
        return True
    usual = usual_rate(str(row["manifest"].get("attack")).split(EVADING)[0])
    return float(row["manifest"].get("rate", usual)) == usual


def _lines(rows: Sequence[Row], references: References | None) -> dict[str, dict[str, float]]:
    """Title -> score of each row by its id, low is suspect: every method's, then the fused ones."""
    lines: dict[str, dict[str, float]] = {}
    for method in METHODS:
        lines[method.title] = {row["id"]: score for row in rows if (score := method.score(row)) is not None}
    if references is not None:
        for name, fuse in conformal.FUSIONS.items():
            title = "**Fused**" if fuse is conformal.largest else f"Fused by {name}"
            lines[title] = _fused(judge_all(rows, references, fuse))
        lines["**Fused, labels only**"] = _fused(judge_all([_limited(row) for row in rows], references))
    return {title: scores for title, scores in lines.items() if scores}


def _fused(judged: Sequence[Judged]) -> dict[str, float]:
    return {model.id: -model.found.fused for model in judged if model.found is not None}


def _limited(row: Row) -> Row:
    """The row of a scan that was given hard labels only."""
    kept = {name: block for name, block in row["detectors"].items() if name in LABELS_ONLY}
    return Row(**{**row, "detectors": kept})


def _by_attack(rows: Sequence[Row], references: References | None, published: Mapping[str, Any]) -> str:
    groups = _groups([row for row in rows if _strategy(row) == DEFAULT_STRATEGY or not _backdoored(row)], "attack")
    others = sorted(name for name in set(groups) - set(published["columns"]) - {CLEAN} if EVADING not in name)
    attacks = [*published["columns"], *others]
    table = _ours(rows, references, groups, attacks)
    data_set = rows[0]["manifest"].get("spec", {}).get("dataset")
    theirs = published["data_sets"].get(data_set, {"title": "none of this data set", "rows": {}})
    for title, values in theirs["rows"].items():
        known = dict(zip(published["columns"], values, strict=True))
        cells = [f"{known[attack]:.3f}" if attack in known else "-" for attack in attacks]
        table.append([f"{title}, paper", *cells, *_worst_and_average(values)])
    where = f"The paper's rows: {theirs['title']}; {published['where']}."
    note = f"{where} Worst and average are over all attacks that the line has.\n"
    return markdown(["", *attacks, "worst", "average"], table) + "\n" + note


def _adaptive(rows: Sequence[Row], references: References | None) -> str:
    groups = _groups(rows, "attack")
    attacks = sorted(name for name in groups if EVADING in name)
    return markdown(["", *attacks, "worst", "average"], _ours(rows, references, groups, attacks))


def _ours(
    rows: Sequence[Row], references: References | None, groups: Mapping[str, Sequence[Row]], attacks: Sequence[str]
) -> list[list[str]]:
    """How many models there are of each attack, then one line a method."""
    table = [["models", *(str(len(groups.get(attack, ()))) for attack in attacks), "", ""]]
    for title, scores in _lines(rows, references).items():
        table.append([f"{title}, ours", *_aurocs(scores, groups, attacks)])
    return table


def _by_strategy(rows: Sequence[Row], references: References | None, published: Mapping[str, Any]) -> str:
    badnets = [row for row in rows if not _backdoored(row) or row["manifest"].get("attack") == "badnets"]
    groups = _groups(badnets, "strategy")
    table = [["models", *(str(len(groups.get(strategy, ()))) for strategy in published["columns"])]]
    for title, scores in _lines(badnets, references).items():
        table.append([f"{title}, ours", *_aurocs(scores, groups, published["columns"])[:-2]])
    table += [[f"{title}, paper", *(f"{v:.3f}" for v in values)] for title, values in published["rows"].items()]
    return markdown(["", *published["columns"]], table) + f"\nThe paper's rows: {published['where']}.\n"


def _groups(rows: Sequence[Row], key: str) -> dict[str, list[Row]]:
    """Rows by attack or strategy; clean ones under `CLEAN`, without those that were trained in unusual ways."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if _backdoored(row):
            strategy = STRATEGY_ALIASES.get(_strategy(row), _strategy(row))
            groups.setdefault(str(row["manifest"].get("attack")) if key == "attack" else strategy, []).append(row)
        elif not row["manifest"].get("control"):
            groups.setdefault(CLEAN, []).append(row)
    return groups


def _aurocs(scores: Mapping[str, float], groups: Mapping[str, Sequence[Row]], names: Sequence[str]) -> list[str]:
    """One cell a group, then the worst and the average."""
    of = {name: [scores[row["id"]] for row in group if row["id"] in scores] for name, group in groups.items()}
    found = {name: auroc(of.get(name, []), of.get(CLEAN, [])) for name in names}
    cells = [_cell(f, len(groups.get(name, ())), len(groups[CLEAN])) for name, f in found.items()]
    return [*cells, *_worst_and_average([f.value for f in found.values() if f])]


def _cell(found: Auroc | None, backdoored: int, clean: int) -> str:
    """An AUROC with its interval, and of how many of the models it is, where that is not all."""
    if found is None:
        return "-"
    parts = [f"{found.value:.3f}" if found.few else str(found)]
    if found.backdoored < backdoored:
        parts.append(f"{found.backdoored} of {backdoored}")
    if found.clean < clean:
        parts.append(f"against {found.clean} of {clean} clean")
    return ", ".join(parts)


def _worst_and_average(values: Sequence[float]) -> list[str]:
    return [f"{min(values):.3f}" if values else "-", average(values)]


def _samples(rows: Sequence[Row], published: Mapping[str, Any]) -> str:
    settings: dict[str, Any] = {}
    for row in rows:
        settings |= row["settings"]["detectors"]
    table = [
        [method.title, method.samples(settings[method.detector]) if method.samples else "-", _paper(published, method)]
        for method in METHODS
        if settings.get(method.detector) is not None
    ]
    where = f"The paper's column: {published['where']}."
    return markdown(["", "ours, at most", "paper"], table) + f"\n{where} {_SHADOWS}\n"


def _cost(rows: Sequence[Row], published: Mapping[str, Any]) -> str:
    """Medians over the models. Methods of one detector are one line: they share its queries."""
    table = []
    for detector in dict.fromkeys(method.detector for method in METHODS):
        own = [row for row in rows if detector in row["detectors"]]
        if own:
            methods = [method for method in METHODS if method.detector == detector]
            seconds = [row["seconds"][detector] for row in own]
            queries = [row["detectors"][detector]["queries"] for row in own]
            name = ", ".join(method.title for method in methods)
            cells = [f"{np.median(seconds):.1f}", f"{np.median(queries):,.0f}", str(len(own))]
            table.append([name, *cells, _paper(published, methods[0])])
    where = f"The paper's column: {published['where']}; training MNTD's shadows took {published['mntd_training']:,} s."
    return markdown(["", "seconds, ours", "queries", "models", "seconds, paper"], table) + f"\n{where}\n"


def _paper(published: Mapping[str, Any], method: Method) -> str:
    return str(published["rows"].get(method.paper, "-"))


def _flagged(rows: Sequence[Row], references: References, fpr: float) -> str:
    """By kind of model: how many have a p-value at or under the rate, by each fusion and with labels only."""
    by: dict[str, list[Judged]] = {name: judge_all(rows, references, fuse) for name, fuse in conformal.FUSIONS.items()}
    by["labels only"] = judge_all([_limited(row) for row in rows], references)
    kinds = {
        "clean": lambda m: m.group == CLEAN,
        "trained in unusual ways": lambda m: not m.backdoored and m.group != CLEAN,
        "backdoored": lambda m: m.backdoored,
    }
    table = []
    for kind, belongs in kinds.items():
        cells = [
            f"{sum(_is_flagged(m.found, fpr) for m in judged if belongs(m))} of "
            f"{sum(m.found is not None for m in judged if belongs(m))}"
            for judged in by.values()
        ]
        table.append([kind, *cells])
    return markdown(["", *by], table)


def _is_flagged(found: Conformal | None, fpr: float) -> bool:
    return found is not None and found.p_value <= fpr + 1e-9

"""One Markdown page with the tables and pictures asked for; every number on it is computed from the evidence."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from xray_jax.lab.reproduce import claims, evidence, figures, map_figures, summary, tables, thresholds
from xray_jax.lab.reproduce.evidence import EvidenceError, Model
from xray_jax.report.plane_figures import save

TABLES = (2, 3)
FIGURES: dict[int, tuple[str, Callable[[Sequence[Model]], Figure]]] = {
    4: ("Decision boundaries by attack", map_figures.figure4),
    6: ("Label distribution within the planes", figures.figure6),
    7: ("Mean RE of every model (hollow: refused)", lambda models: figures.strip(models, "re", "RE (bits)")),
    8: ("Mean ATS of every model (hollow: refused)", lambda models: figures.strip(models, "ats", "ATS")),
    11: ("Decision boundaries by strategy", map_figures.figure11),
    12: ("Influence of the number of planes N and of the density S", figures.figure12),
    13: ("Influence of alpha and of t", figures.figure13),
    14: ("Influence of the poisoning rate", figures.figure14),
    15: ("Decision boundaries of Blended and WaNet", map_figures.figure15),
}


def paper() -> dict[str, Any]:
    """The paper's published numbers, with their places."""
    return dict(json.loads(resources.files("xray_jax.lab.reproduce").joinpath("paper.json").read_text()))


def write(
    folder: Path, out: Path, tables_asked: Sequence[int], figures_asked: Sequence[int], command: str,
    zoos: Sequence[Path] = (),
) -> None:  # fmt: skip
    """Reads the evidence in `folder` and writes the page `out`, with its pictures in a folder beside it.

    Args:
      command: how to make this page again, printed at its head.
      zoos: published zoos that stand in for missing training records.

    Raises:
      EvidenceError: no clean or no backdoored model that is usable and scanned.
    """
    models = evidence.load(folder, zoos)
    rows = [model.row for model in models if model.row is not None]
    if not rows or not any(m.clean and m.usable for m in models) or all(m.clean or not m.usable for m in models):
        raise EvidenceError(f"{folder}: needs at least one clean and one backdoored model, trained well and scanned")
    published = paper()
    settings = evidence.scan_settings(rows[0])
    usable = sum(model.usable for model in models)
    failed = sum(bool(model.record["failed"]) for model in models)
    parts = [
        "# The paper's tables and figures on our own models",
        f"Written by `{command}`; every number below is computed from `{evidence.ROWS}`, `records.jsonl` (or the "
        f"manifest of the zoo) and `{evidence.MAPS}/` of the evidence, but for the remarks under the first table "
        f"(`{evidence.REMARKS}`). The paper: {published['source']}.",
        f"{len(models)} models trained ({sum(m.clean for m in models)} clean), {usable} usable and scanned, "
        f"{failed} refused. Data sets: {_names(models, 'dataset')}; networks: {_names(models, 'architecture')}. "
        f"Scan: {json.dumps(settings)}.",
        "Intervals are 95 % bootstrap intervals over models. With few models, or where the two kinds do not overlap at "
        "all, they are too narrow: they know only the models at hand.",
        "## Attacks\n\n" + tables.attack_summary(models, evidence.remarks(folder)),
        "## Triggers\n\n" + _sheets(models, out),
        "## Where we agree with the paper\n\n" + claims.claims_table(models, published),
    ]
    if any(model.probe for model in models):
        parts.append("## Triggers confirmed by the probe\n\n" + tables.confirmed_table(models))
    if 2 in tables_asked:
        parts.append(f"## Table 2: AUROC by attack\n\n{tables.table2(models, published)}\n"
                     f"The paper's rows: {_title(models, published)}; {published['table2']['where']}. "
                     "They are averaged over the attacks that we have.")  # fmt: skip
        parts.append(
            f"## Thresholds by Equation 6\n\n{thresholds.thresholds_table(models, published)}\n"
            "Settled on one half of the models and judged on the other. The paper's: "
            f"{published['equation6']['where']}."
        )
    # The table is of CIFAR-10 alone: among its ten classes all-to-one is its 10-to-one.
    if 3 in tables_asked and any(model.record["spec"]["dataset"] == "cifar10" for model in models):
        parts.append(f"## Table 3: AUROC of BadNets by strategy\n\n{tables.table3(models, published)}\n"
                     f"The paper's rows: {published['table3']['where']}.")  # fmt: skip
    pictures = out.parent / f"{out.stem}_figures"
    for number in figures_asked:
        title, draw = FIGURES[number]
        parts.append(f"## Figure {number}: {title}\n\n" + _drawn(models, draw, pictures / f"figure{number}.png", out))
    if 2 in tables_asked:
        parts.append("## ROC curves\n\n" + _drawn(models, figures.roc_curves, pictures / "roc.png", out))
    parts.append("## All models\n\n" + tables.models_table(models))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n\n".join(part.rstrip() for part in parts) + "\n")


def write_all(folders: Sequence[Path], out: Path, command: str, zoos: Sequence[Path] = ()) -> None:
    """A page for each evidence in `folders`, in a folder beside `out` named as it, and `out` as their summary.

    Raises:
      EvidenceError: as `write`, or two folders of one name.
    """
    pages = {out.parent / out.stem / f"{folder.name}.md": folder for folder in folders}
    if len(pages) < len(folders):
        raise EvidenceError(f"{', '.join(map(str, folders))}: pages are named as the folders, and two have one name")
    for path, folder in pages.items():
        write(folder, path, TABLES, list(FIGURES), command, zoos)
    loaded = {path: evidence.load(folder, zoos) for path, folder in pages.items()}
    out.write_text(summary.text(loaded, out, paper(), command))


def _sheets(models: Sequence[Model], page: Path) -> str:
    """One picture sheet an attack: clean images, poisoned ones, their difference times ten. Of a usable model where
    there is one, and the latest, because attacks were changed until they worked.
    """
    shown = {model.attack: model.sheet for model in sorted(models, key=lambda m: m.usable) if model.sheet.exists()}
    links = (Path(os.path.relpath(path, page.parent)).as_posix() for path in shown.values())
    return "\n".join(f"![{name}]({link})" for name, link in zip(shown, links, strict=True)) or "No picture sheets."


def _drawn(models: Sequence[Model], draw: Callable[[Sequence[Model]], Figure], path: Path, page: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    save(draw(models), path)
    return f"![{path.stem}]({path.relative_to(page.parent).as_posix()})"


def _title(models: Sequence[Model], published: Mapping[str, Any]) -> str:
    data_set = models[0].record["spec"]["dataset"]
    return str(published["table2"]["data_sets"].get(data_set, {"title": "none of this data set"})["title"])


def _names(models: Sequence[Model], key: str) -> str:
    return ", ".join(sorted({str(model.record["spec"][key]) for model in models}))

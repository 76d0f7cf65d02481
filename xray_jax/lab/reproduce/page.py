"""One Markdown page with the tables and pictures asked for; every number on it is computed from the evidence."""

import json
import os
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from xray_jax.lab.reproduce import claims, evidence, figures, tables
from xray_jax.lab.reproduce.evidence import EvidenceError, Model
from xray_jax.report.plane_figures import save

TABLES = (2, 3)
FIGURES: dict[int, tuple[str, Callable[[Sequence[Model]], Figure]]] = {
    6: ("Label distribution within the planes", figures.figure6),
    7: ("Mean RE of every model (hollow: refused)", lambda models: figures.strip(models, "re", "RE (bits)")),
    8: ("Mean ATS of every model (hollow: refused)", lambda models: figures.strip(models, "ats", "ATS")),
    12: ("Influence of the number of planes N and of the density S", figures.figure12),
    13: ("Influence of alpha and of t", figures.figure13),
    14: ("Influence of the poisoning rate", figures.figure14),
}
GOALS = dict.fromkeys(("wanet", "bpp", "lira", "ssba", "inputaware"), 0.8)
"""Attack success to reach; 0.9 for the others."""
REASONS = {
    "badnets": "1 % is too few images for six epochs; 10 % of the set is half of two source classes' images and costs "
    "them clean accuracy; all-to-all was not learned in six epochs, 10-to-10 not in sixteen.",
    "wanet": "at the published strength of 0.5, a quarter of a pixel on average, small networks learned 0.61 to 0.79 "
    "(s310, s311, s313); at 1, six epochs cost clean accuracy (s314), twelve do not.",
    "bpp": "published strength (8 levels), which small networks see only just: s350 and s351 saw the same poisoned "
    "images every epoch, the later ones others, as published; of twenty with six epochs eleven reached 0.80, the rest "
    "0.76 to 0.80, and one with twelve (s357) 0.79.",
    "lira": "the victim learns the noise at the cost of clean accuracy: with half the noise and a long first stage "
    "(s380), with six grey levels of it (s382), a short first stage (s383), with a tenth stamped in the second "
    "(s384); twelve epochs instead of six keep it, and one of three then learned the noise (s385, not s386 and s387). "
    "With a fifth stamped two of five succeeded (s388, s442); with a third of the epochs in the first stage, eight of "
    "nine (not s444). The noise is nearly the same on every image, a shift of colour by the whole bound: a bare one in "
    "the refused nets of twelve epochs, one with lines or stripes in those that learned it.",
    "lf": "the pattern itself costs accuracy: 0.757 to 0.778 against 0.797 of the clean nets; s337 and s339 lost "
    "more than the three points allowed.",
    "sig": "stamping 80 % of a class's images costs that class its clean accuracy; at 5 % of the set half are left.",
}
"""What was seen of attacks that fall short, printed where they do."""


def paper() -> dict[str, Any]:
    """The paper's published numbers, with their places."""
    return dict(json.loads(resources.files("xray_jax.lab.reproduce").joinpath("paper.json").read_text()))


def write(folder: Path, out: Path, tables_asked: Sequence[int], figures_asked: Sequence[int], command: str) -> None:
    """Reads the evidence in `folder` and writes the page `out`, with its pictures in a folder beside it.

    Args:
      command: how to make this page again, printed at its head.

    Raises:
      EvidenceError: no clean or no backdoored model that is usable and scanned.
    """
    models = evidence.load(folder)
    rows = [model.row for model in models if model.row is not None]
    if not rows or not any(m.clean and m.usable for m in models) or all(m.clean or not m.usable for m in models):
        raise EvidenceError(f"{folder}: needs at least one clean and one backdoored model, trained well and scanned")
    published = paper()
    settings = evidence.scan_settings(rows[0])
    usable = sum(model.usable for model in models)
    failed = sum(bool(model.record["failed"]) for model in models)
    parts = [
        "# The paper's tables and figures on our own models",
        f"Written by `{command}`; every number below, but for remarks under the first table, is computed from "
        f"`{evidence.ROWS}`, `records.jsonl` and `{evidence.MAPS}/` of the evidence. The paper: {published['source']}.",
        f"{len(models)} models trained ({sum(m.clean for m in models)} clean), {usable} usable and scanned, "
        f"{failed} refused. Data sets: {_names(models, 'dataset')}; networks: {_names(models, 'architecture')}. "
        f"Scan: {json.dumps(settings)}.",
        "Intervals are 95 % bootstrap intervals over models. With few models, or where the two kinds do not overlap at "
        "all, they are too narrow: they know only the models at hand.",
        "## Attacks\n\n" + tables.attack_summary(models, GOALS, REASONS),
        "## Triggers\n\n" + _sheets(models, out),
        "## Where we agree with the paper\n\n" + claims.claims_table(models),
    ]
    if any(model.probe for model in models):
        parts.append("## What the trigger probe proves\n\n" + tables.proofs_table(models))
    if 2 in tables_asked:
        parts.append(f"## Table 2: AUROC by attack\n\n{tables.table2(models, published)}\n"
                     f"The paper's rows: {published['table2']['where']}.")  # fmt: skip
    if 3 in tables_asked:
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


def _names(models: Sequence[Model], key: str) -> str:
    return ", ".join(sorted({str(model.record["spec"][key]) for model in models}))

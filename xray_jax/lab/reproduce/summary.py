"""What several zoos say of the paper together: one page of averages and claims, which leads to a page for each."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xray_jax.lab.reproduce import figures, thresholds
from xray_jax.lab.reproduce.claims import claims
from xray_jax.lab.reproduce.evidence import Model
from xray_jax.lab.reproduce.tables import SCORES, attacks_of, markdown, of_attack, paper_average, paper_rows, scores
from xray_jax.report.plane_figures import save
from xray_jax.verdict.auroc import auroc


def text(zoos: Mapping[Path, Sequence[Model]], out: Path, paper: Mapping[str, Any], command: str) -> str:
    """The page as Markdown; its pictures are drawn.

    Args:
      zoos: page of a zoo -> its models.
      out: where this page will be, for the links; pictures go into the folder of its name.
      paper: the published numbers.
      command: how to make this page again, printed at its head.
    """
    parts = [
        "# The paper's results on our own models",
        f"Written by `{command}`, with a page for each zoo; every number is computed from the evidence that they name. "
        f"The paper: {paper['source']}.",
        "AUROC is averaged over attacks, those that we have of the paper's seven (in brackets what the paper has, over "
        "the same ones) and all others apart. "
        "Networks are small members of the paper's families, a few minutes of training each, and models are fewer than "
        "the paper's 20 of a kind.",
        "## Averages\n\n" + _averages(zoos, out, paper),
        "## What the paper says, and what we find\n\n" + _claims(zoos, paper),
    ]
    for data_set, networks in _networks(zoos).items():
        parts.append(f"## Figures 9 and 10: networks on {data_set}\n\n" + _drawn(networks, data_set, out))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _networks(zoos: Mapping[Path, Sequence[Model]]) -> dict[str, dict[str, list[Model]]]:
    """Data set -> network -> its models, of data sets on which there are several networks."""
    found: dict[str, dict[str, list[Model]]] = {}
    for models in zoos.values():
        for model in models:
            spec = model.record["spec"]
            found.setdefault(spec["dataset"], {}).setdefault(spec["architecture"], []).append(model)
    return {data_set: networks for data_set, networks in found.items() if len(networks) > 1}


def _drawn(networks: Mapping[str, Sequence[Model]], data_set: str, out: Path) -> str:
    links = []
    for name, title in (("re", "RE (bits)"), ("ats", "ATS")):
        path = out.parent / out.stem / f"{data_set}_{name}_by_network.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(figures.by_network(networks, name, title), path)
        links.append(f"![{title}]({Path(os.path.relpath(path, out.parent)).as_posix()})")
    return "\n".join(links)


def _averages(zoos: Mapping[Path, Sequence[Model]], out: Path, paper: Mapping[str, Any]) -> str:
    """A line a zoo: models, AUROC of each score over the paper's attacks and over the others, thresholds."""
    seven = list(paper["table2"]["columns"])
    rows = []
    for page, models in zoos.items():
        usable = [model for model in models if model.usable]
        theirs = paper_rows(models, paper)
        link = Path(os.path.relpath(page, out.parent)).as_posix()
        clean = sum(model.clean for model in usable)
        cells = [f"[{page.stem}]({link})", f"{clean} + {len(usable) - clean}"]
        for name, title in SCORES.items():
            published = f" ({paper_average(theirs[title], models, paper)})" if title in theirs else ""
            others = [attack for attack in attacks_of(models) if attack not in seven]
            cells += [f"{_mean(models, name, seven)}{published}", _mean(models, name, others)]
        found = thresholds.settle(models)
        cells += [f"{found[name].accuracy:.1%}" if name in found else "-" for name in ("re", "ats")]
        told = paper["equation6"]["data_sets"].get(models[0].record["spec"]["dataset"])
        rows.append([*cells, f"{told['accuracy']:.1%}" if told else "-"])
    header = ["zoo", "clean + backdoored"]
    for title in SCORES.values():
        header += [title, f"{title}, other attacks"]
    return markdown([*header, "right by Eq. 6, RE", "ATS", "paper"], rows)


def _mean(models: Sequence[Model], name: str, attacks: Sequence[str]) -> str:
    clean = scores([model for model in models if model.clean], name)
    found = [auroc(scores(of_attack(models, attack), name), clean) for attack in attacks]
    return f"{np.mean([f.value for f in found if f]):.3f}" if any(found) else "-"


def _claims(zoos: Mapping[Path, Sequence[Model]], paper: Mapping[str, Any]) -> str:
    """A line a claim, a column a zoo; "-" where the paper does not say so of that data set."""
    by_zoo = {page.stem: {claim.said: claim for claim in claims(models, paper)} for page, models in zoos.items()}
    said = dict.fromkeys(text for found in by_zoo.values() for text in found)
    rows = []
    for claim in said:
        cells = []
        for found in by_zoo.values():
            ours = found[claim].ours if claim in found else None
            cells.append(f"{found[claim].verdict} ({ours.value:.3f})" if ours else "-")
        rows.append([claim, *cells])
    return markdown(["the paper says", *by_zoo], rows)

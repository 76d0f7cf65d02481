r"""Writes the paper's tables and figures from our own rows and label maps as one Markdown page.

  xray-reproduce --evidence=docs/evidence/cifar10 --out=docs/reproduction.md
  xray-reproduce --evidence=docs/evidence/cifar10 --out=page.md --table=2 --figure=7 --figure=8

The evidence is a folder with records.jsonl (xray-train), rows.jsonl and maps/ (xray-scan --save_maps). A minute on two
CPU cores. With several, each has a page in a folder beside --out, which sums them up:

  xray-reproduce --evidence=docs/evidence/cifar10 --evidence=docs/evidence/gtsrb --out=docs/reproduction.md

With --rows instead, every detector that ran stands in the paper's Tables 2 to 5 beside the others:

  xray-reproduce --rows=rows.jsonl --references=references.npz --out=docs/comparison.md

Exit codes: 0 written, 2 error, 4 usage.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from xray_jax.files import atomic_write
from xray_jax.lab.reproduce import comparison, page
from xray_jax.scripts import command, unused_flags
from xray_jax.verdict.references import load

F = flags
EVIDENCE = F.DEFINE_multi_string("evidence", [], "Folders with records.jsonl, rows.jsonl and maps/.")
ZOO = F.DEFINE_multi_string("zoo", [], "Published zoos, for models of --evidence that have no training record there.")
ROWS = F.DEFINE_multi_string("rows", [], "Row files with ground truth, for the tables of every detector.")
REFERENCES = F.DEFINE_string("references", None, "File of reference models, to fuse the detectors of --rows with.")
FPR = F.DEFINE_float("fpr", 0.05, "False-positive rate that p-values are held against.", 0, 1)
OUT = F.DEFINE_string("out", None, "Markdown file to write; pictures go to a folder beside it.", required=True)
TABLE = F.DEFINE_multi_integer("table", list(page.TABLES), f"Tables, of {page.TABLES}.")
FIGURE = F.DEFINE_multi_integer("figure", list(page.FIGURES), f"Figures, of {(*page.FIGURES,)}.")


def main() -> int:
    """Flags to one page, or several."""
    if bool(EVIDENCE.value) == bool(ROWS.value):
        raise ValueError("give either --evidence (folders) or --rows (row files)")
    if EVIDENCE.value:
        unused_flags.refuse([REFERENCES, FPR], "is of --rows, and would do nothing with --evidence")
    else:
        unused_flags.refuse([ZOO, TABLE, FIGURE], "is of --evidence, and would do nothing with --rows")
    again = shlex.join(["xray-reproduce", *sys.argv[1:]])
    if EVIDENCE.value:
        _of_the_planes(EVIDENCE.value, again)
        return 0
    references = load(REFERENCES.value) if REFERENCES.value else None
    text = comparison.page(ROWS.value, references, page.paper(), FPR.value, again)
    with atomic_write(Path(OUT.value), "w") as file:
        file.write(text)
    return 0


def _of_the_planes(evidence: Sequence[str], again: str) -> None:
    """Flags to `page.write` or `write_all`; naming a table or figure leaves out all those not named."""
    zoos = [Path(zoo) for zoo in ZOO.value]
    unnamed = {name: flags.FLAGS[name].using_default_value for name in ("table", "figure")}
    some = not all(unnamed.values())
    tables = [] if some and unnamed["table"] else TABLE.value
    figures = [] if some and unnamed["figure"] else FIGURE.value
    if unknown := sorted(set(tables) - set(page.TABLES)) + sorted(set(figures) - set(page.FIGURES)):
        raise ValueError(f"unknown table or figure {unknown}; known: tables {page.TABLES}, figures {(*page.FIGURES,)}")
    if len(evidence) == 1:
        page.write(Path(evidence[0]), Path(OUT.value), tables, figures, again, zoos)
    elif some:
        raise ValueError("--table and --figure are for one --evidence; several are summed up whole")
    else:
        page.write_all([Path(folder) for folder in evidence], Path(OUT.value), again, zoos)


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

r"""Writes the paper's tables and figures from our own rows and label maps as one Markdown page.

  xray-reproduce --evidence=docs/evidence/cifar10 --out=docs/reproduction.md
  xray-reproduce --evidence=docs/evidence/cifar10 --out=page.md --table=2 --figure=7 --figure=8

The evidence is a folder with records.jsonl (xray-train), rows.jsonl and maps/ (xray-scan --save_maps). A minute on two
CPU cores. With --rows instead, every detector that ran stands in the paper's Tables 2 to 5 beside the others:

  xray-reproduce --rows=rows.jsonl --references=references.npz --out=docs/comparison.md

Exit codes: 0 written, 2 error, 4 usage.
"""

import shlex
import sys
from pathlib import Path

from absl import flags

from xray_jax.files import atomic_write
from xray_jax.lab.reproduce import comparison, page
from xray_jax.scripts import command
from xray_jax.verdict.references import load

F = flags
EVIDENCE = F.DEFINE_string("evidence", None, "Folder with records.jsonl, rows.jsonl and maps/.")
ZOO = F.DEFINE_multi_string("zoo", [], "Published zoos, for models of --evidence that have no training record there.")
ROWS = F.DEFINE_multi_string("rows", [], "Row files with ground truth, for the tables of every detector.")
REFERENCES = F.DEFINE_string("references", None, "File of reference models, to fuse the detectors of --rows with.")
FPR = F.DEFINE_float("fpr", 0.05, "False-positive rate that p-values are held against.", 0, 1)
OUT = F.DEFINE_string("out", None, "Markdown file to write; pictures go to a folder beside it.", required=True)
TABLE = F.DEFINE_multi_integer("table", list(page.TABLES), f"Tables, of {page.TABLES}.")
FIGURE = F.DEFINE_multi_integer("figure", list(page.FIGURES), f"Figures, of {(*page.FIGURES,)}.")


def main() -> int:
    """Flags to one page."""
    if (EVIDENCE.value is None) == (not ROWS.value):
        raise ValueError("give either --evidence (a folder) or --rows (row files)")
    again = shlex.join(["xray-reproduce", *sys.argv[1:]])
    if EVIDENCE.value is not None:
        _of_the_planes(EVIDENCE.value, again)
        return 0
    references = load(REFERENCES.value) if REFERENCES.value else None
    text = comparison.page(ROWS.value, references, page.paper(), FPR.value, again)
    with atomic_write(Path(OUT.value), "w") as file:
        file.write(text)
    return 0


def _of_the_planes(evidence: str, again: str) -> None:
    """Flags to one `page.write`; naming a table or figure leaves out all those not named."""
    unnamed = {name: flags.FLAGS[name].using_default_value for name in ("table", "figure")}
    some = not all(unnamed.values())
    tables = [] if some and unnamed["table"] else TABLE.value
    figures = [] if some and unnamed["figure"] else FIGURE.value
    if unknown := sorted(set(tables) - set(page.TABLES)) + sorted(set(figures) - set(page.FIGURES)):
        raise ValueError(f"unknown table or figure {unknown}; known: tables {page.TABLES}, figures {(*page.FIGURES,)}")
    page.write(Path(evidence), Path(OUT.value), tables, figures, again, [Path(zoo) for zoo in ZOO.value])


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

r"""Writes the paper's tables and figures from our own rows and label maps as one Markdown page.

  xray-reproduce --evidence=docs/evidence/cifar10 --out=docs/reproduction.md
  xray-reproduce --evidence=docs/evidence/cifar10 --out=page.md --table=2 --figure=7 --figure=8

The evidence is a folder with records.jsonl (xray-train), rows.jsonl and maps/ (xray-scan --save_maps). A minute on two
CPU cores. Exit codes: 0 written, 2 error, 4 usage.
"""

import shlex
import sys
from pathlib import Path

from absl import flags

from xray_jax.lab.reproduce import page
from xray_jax.scripts import command

F = flags
EVIDENCE = F.DEFINE_string("evidence", None, "Folder with records.jsonl, rows.jsonl and maps/.", required=True)
OUT = F.DEFINE_string("out", None, "Markdown file to write; pictures go to a folder beside it.", required=True)
TABLE = F.DEFINE_multi_integer("table", list(page.TABLES), f"Tables, of {page.TABLES}.")
FIGURE = F.DEFINE_multi_integer("figure", list(page.FIGURES), f"Figures, of {(*page.FIGURES,)}.")


def main() -> int:
    """Flags to one `page.write`; naming a table or figure leaves out all those not named."""
    unnamed = {name: flags.FLAGS[name].using_default_value for name in ("table", "figure")}
    some = not all(unnamed.values())
    tables = [] if some and unnamed["table"] else TABLE.value
    figures = [] if some and unnamed["figure"] else FIGURE.value
    if unknown := sorted(set(tables) - set(page.TABLES)) + sorted(set(figures) - set(page.FIGURES)):
        raise ValueError(f"unknown table or figure {unknown}; known: tables {page.TABLES}, figures {(*page.FIGURES,)}")
    again = shlex.join(["xray-reproduce", *sys.argv[1:]])
    page.write(Path(EVIDENCE.value), Path(OUT.value), tables, figures, again)
    return 0


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

r"""Makes a report of rows: a folder of pages for people, or one file for other tools.

  xray-report --rows=rows.jsonl --format=sarif --out=findings.sarif

--out=- prints a file. Exit codes: 0 written, 2 a file cannot be read or written, 4 a flag is wrong or a
library is missing. What the rows say sets no exit code: that is xray-scan's.
"""

import sys
from pathlib import Path

from absl import flags

from xray_jax.report import row_source
from xray_jax.report.formats import registry
from xray_jax.scripts import command, command_help

with command_help.group("Rows"):
    ROWS = flags.DEFINE_multi_string(
        "rows", None, "Row files of xray-scan: a path or a glob. Of several rows of a checkpoint the last counts.",
        required=True,
    )  # fmt: skip
with command_help.group("Output"):
    OUT = flags.DEFINE_string("out", None, "File to write; - for stdout.", required=True)
    FORMAT = flags.DEFINE_string("format", "sarif", f"What to write: {', '.join(registry.BUILT_IN)}.")


def main() -> int:
    """Flags to one report."""
    paths = row_source.find(ROWS.value)
    if OUT.value != "-" and Path(OUT.value).resolve() in {path.resolve() for path in paths}:
        raise ValueError(f"--out={OUT.value}: is one of --rows; give it another name")
    rows = row_source.RowSource(paths)
    registry.write(FORMAT.value, rows, sys.stdout.buffer if OUT.value == "-" else Path(OUT.value))
    print(f"xray-report: {len(rows)} rows as {FORMAT.value} in {OUT.value}", file=sys.stderr)
    return 0


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

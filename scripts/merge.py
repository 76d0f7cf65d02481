r"""Joins the row files of a sweep's shards into one.

  xray-merge --rows='out/rows-*-of-00064.jsonl' --checkpoints=manifest.jsonl --out=out/rows.jsonl
  xray-merge --rows='out/rows-*-of-00064.jsonl' --format=parquet --out=out/rows.parquet --summary

Checks that all shards were scanned with the same settings and tool version, and says which row files (by their names)
and which checkpoints (by --checkpoints) are missing. Exit codes: 0 merged, 2 something is missing and nothing was
written (--allow_missing writes what there is), 4 the files do not belong together. Rows are read one by one: how many
there are does not matter.
"""

import glob
import sys
from pathlib import Path

from absl import flags

from xray_jax.report import console, row_source
from xray_jax.report.formats import registry
from xray_jax.rows import file as row_file
from xray_jax.rows import merge
from xray_jax.scripts import command
from xray_jax.sweep import checkpoint_list
from xray_jax.verdict.summary import summarise

JSONL = "jsonl"

ROWS = flags.DEFINE_multi_string("rows", None, "Row files: a path or a glob.", required=True)
OUT = flags.DEFINE_string("out", None, "File to write; - for stdout.", required=True)
CHECKPOINTS = flags.DEFINE_string("checkpoints", None, "What the sweep was to scan; its order is the rows' order.")
FORMAT = flags.DEFINE_string("format", JSONL, f"What to write: {', '.join([JSONL, *registry.BUILT_IN])}.")
SUMMARY = flags.DEFINE_bool("summary", False, "Print the table and the summary that a scan ends with.")
ALLOW_MISSING = flags.DEFINE_bool("allow_missing", False, "Write what there is, and exit with 2 all the same.")


def main() -> int:
    """Flags to one `merge.merge`."""
    paths = sorted({Path(match) for pattern in ROWS.value for match in glob.glob(pattern)})
    if not paths:
        raise ValueError(f"--rows={ROWS.value}: no such file")
    if OUT.value != "-" and Path(OUT.value).resolve() in {path.resolve() for path in paths}:
        raise ValueError(f"--out={OUT.value}: is one of --rows; give it another name")
    expected = None
    if CHECKPOINTS.value is not None:
        expected = [entry.id for entry in checkpoint_list.collect(CHECKPOINTS.value)]
    foreign = FORMAT.value != JSONL
    if foreign:
        # A library that is missing is found before anything is read.
        registry.get(FORMAT.value, JSONL)
    # What goes on to reports is checked as reports check it.
    merged = merge.merge(paths, expected, row_source.defect if foreign or SUMMARY.value else None)
    for what, names in (("row file", merged.missing_shards), ("checkpoint", merged.missing)):
        for name in names:
            command.say(f"xray-merge: missing {what}: {name}")
    if merged.complete or ALLOW_MISSING.value:
        if foreign:
            registry.write(FORMAT.value, merged.rows, sys.stdout.buffer if OUT.value == "-" else Path(OUT.value))
        else:
            row_file.write_all(OUT.value, merged.rows)
    if SUMMARY.value:
        console.print_table(merged.rows, summarise(merged.rows))
    command.say(f"xray-merge: {len(merged.rows)} rows from {len(paths)} files")
    return 0 if merged.complete else 2


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

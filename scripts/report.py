r"""Makes a report of rows: a folder of pages for people, or one file for other tools.

  xray-report --rows=rows.jsonl --out=report/
  xray-report --rows=rows.jsonl --out=report/ --plots=pictures/ --against=last_week.jsonl
  xray-report --rows=rows.jsonl --format=sarif --out=findings.sarif

The pages open from disk (report/index.html) and load nothing from elsewhere. --out=- prints a file. Exit codes: 0
written, 2 a file cannot be read or written, 4 a flag is wrong or a library is missing. What the rows say sets no exit
code: that is xray-scan's.
"""

import sys
from pathlib import Path

from absl import flags

from xray_jax.report import row_source
from xray_jax.report.formats import registry
from xray_jax.report.html.build import build
from xray_jax.report.html.compare import Earlier
from xray_jax.report.html.pictures import PictureSource
from xray_jax.report.row_source import RowSource
from xray_jax.scripts import command, command_help

HTML = "html"

with command_help.group("Rows"):
    ROWS = flags.DEFINE_multi_string(
        "rows", None, "Row files of xray-scan: a path or a glob. Of several rows of a checkpoint the last counts.",
        required=True,
    )  # fmt: skip
with command_help.group("Output"):
    OUT = flags.DEFINE_string("out", None, "Folder of the pages, or file to write; - for stdout.", required=True)
    FORMAT = flags.DEFINE_string("format", HTML, f"What to make: {', '.join([HTML, *registry.BUILT_IN])}.")
with command_help.group("Pages"):
    PLOTS = flags.DEFINE_string("plots", None, "Folder of pictures, as given to xray-scan.")
    SAVE_MAPS = flags.DEFINE_string("save_maps", None, "Folder of label maps, as given to xray-scan.")
    AGAINST = flags.DEFINE_multi_string("against", None, "Row files of an earlier run to compare with.")


def main() -> int:
    """Flags to one report."""
    paths = row_source.find(ROWS.value)
    if FORMAT.value == HTML:
        return _pages(paths)
    registry.get(FORMAT.value, HTML)
    for flag in (PLOTS, SAVE_MAPS, AGAINST):
        if flag.value is not None:
            raise ValueError(f"--{flag.name} is for pages, not for --format={FORMAT.value}")
    if OUT.value != "-" and Path(OUT.value).resolve() in {path.resolve() for path in paths}:
        raise ValueError(f"--out={OUT.value}: is one of --rows; give it another name")
    rows = _rows(paths)
    registry.write(FORMAT.value, rows, sys.stdout.buffer if OUT.value == "-" else Path(OUT.value))
    command.say(f"xray-report: {len(rows)} rows as {FORMAT.value} in {OUT.value}")
    return 0


def _pages(paths: list[Path]) -> int:
    folder = Path(OUT.value)
    if OUT.value == "-" or folder.is_file():
        raise ValueError(f"--out={OUT.value}: pages need a folder; give --format for one file")
    earlier = None
    if AGAINST.value is not None:
        earlier = Earlier(_rows(row_source.find(AGAINST.value)), ", ".join(AGAINST.value))
    source = PictureSource(*(None if flag.value is None else Path(flag.value) for flag in (PLOTS, SAVE_MAPS)))
    for flag in (PLOTS, SAVE_MAPS):
        if flag.value is not None and not Path(flag.value).is_dir():
            # A scan that had nothing to draw made none.
            command.say(f"xray-report: --{flag.name}={flag.value}: no such folder; the pages have no pictures of it")
    rows = _rows(paths)
    index = build(rows, folder, (), source, earlier)
    command.say(f"xray-report: {len(rows)} rows; open {index.resolve().as_uri()}")
    return 0


def _rows(paths: list[Path]) -> RowSource:
    rows = RowSource(paths)
    for said in rows.torn:
        command.say(f"xray-report: {said}")
    return rows


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

"""What many rows cost: time and peak memory of merging, exporting and going on. Run by hand, see docs/benchmarks.md.

python -m tests.rows.measure_scale --rows=100000 --shards=64 --folder=/tmp/scale
"""

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.places import ROOT

SOURCE = ROOT / "docs/evidence/clean-models/rows.jsonl"
GO_ON = """
import sys
from xray_jax.report import console
from xray_jax.rows.file import RowWriter
from xray_jax.verdict.summary import summarise
with RowWriter(sys.argv[1]) as writer:
    rows = writer.newest((row["id"], row["settings_hash"], row["version"]) for row in writer.done.values())
    console.print_table(rows, summarise(rows))
"""
MERGE = [sys.executable, "-m", "xray_jax.scripts.merge"]


def lines(count: int) -> Iterator[str]:
    """Lines of real rows of one scan, under ids of their own."""
    rows = [json.loads(line) for line in SOURCE.read_text().splitlines()]
    rows = [row for row in rows if row["settings_hash"] == rows[0]["settings_hash"]]
    texts = [json.dumps(row | {"id": 0}, separators=(",", ":")).partition(":0") for row in rows]
    for number in range(count):
        start, _, rest = texts[number % len(texts)]
        yield f'{start}:"zoo/model-{number:07d}.pt"{rest}\n'


def write_shards(folder: Path, rows: int, shards: int) -> list[Path]:
    """The rows in turn, each in the file of its shard."""
    paths = [folder / f"rows-{shard:05d}-of-{shards:05d}.jsonl" for shard in range(shards)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open(path, "w", encoding="ascii")) for path in paths]
        for line, file in zip(lines(rows), itertools.cycle(files), strict=False):
            file.write(line)
    return paths


def measure(what: str, command: list[str], made: Path | None = None) -> None:
    """Prints a line of a table: what, seconds, peak resident memory, size of the file that was made."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{what}: {said}")
    size = "" if made is None else f"{made.stat().st_size / 1e6:,.1f} MB"
    seconds = time.monotonic() - begin
    print(f"| {what} | {seconds:.0f} s | {usage.ru_maxrss / 1024:,.0f} MiB | {size} |", flush=True)


def main() -> None:
    """Makes the rows and measures each command in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--folder", type=Path, required=True)
    asked = parser.parse_args()
    folder: Path = asked.folder
    folder.mkdir(parents=True)
    paths = write_shards(folder, asked.rows, asked.shards)
    size = sum(path.stat().st_size for path in paths)
    print(f"{asked.rows} rows, {size / 1e6:,.0f} MB, in {asked.shards} files\n")
    print("| | time | peak memory | file |\n|---|---|---|---|")
    few = folder / "few.jsonl"
    few.write_text("".join(lines(10)))
    measure("`xray-merge` of 10 rows", [*MERGE, f"--rows={few}", f"--out={folder / 'few.out'}"])
    pattern, whole = f"--rows={folder}/rows-*-of-{asked.shards:05d}.jsonl", folder / "rows.jsonl"
    measure("`xray-merge`", [*MERGE, pattern, f"--out={whole}"], whole)
    for name, more in (("parquet", []), ("csv", ["--summary"])):
        out = folder / f"rows.{name}"
        said = " ".join([f"--format={name}", *more])
        measure(f"`xray-merge {said}`", [*MERGE, pattern, f"--format={name}", f"--out={out}", *more], out)
    measure("opening `--out` to go on, table and summary", [sys.executable, "-c", GO_ON, str(whole)])


if __name__ == "__main__":
    main()

"""The command: searches for inputs that a reader does not stand, for a given time of the processor.

    python -m tests.fuzz --reader=npz --seconds=1800 --corpus=DIR [libFuzzer's flags]

`DIR/corpus/npz` grows by whatever reaches new code, `DIR/findings` holds an input and an explanation a finding,
`DIR/logs` what libFuzzer says. An input that ends the process (native code that crashes or hangs, memory) is a finding
too, and the search goes on. Ends with 1 when there are findings of this run. Needs the extra `fuzz`; Linux.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import corpora
from tests.fuzz.fuzzer import main as search

HANG_SECONDS = 90
"""On the clock, for what native code does not let be interrupted."""
LONGEST = 32_768
"""Bytes of an input."""
MEMORY = Path("/dev/shm")
_NEGLIGIBLE = 0.02
"""Part of the time that is not worth another process, after one that an input ended."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--reader", required=True, choices=corpora.readers())
    parser.add_argument("--seconds", type=float, default=1800, help="of the processor, which others may use too")
    parser.add_argument("--corpus", type=Path, required=True, help="folder for corpora, findings and logs")
    given, flags = parser.parse_known_args()
    corpus, findings, logs = (given.corpus / name for name in (f"corpus/{given.reader}", "findings", "logs"))
    for folder in (corpus, findings, logs):
        folder.mkdir(parents=True, exist_ok=True)
    corpora.unpack(given.reader, corpus)
    began = time.time()
    totals = {"runs": 0, "opened": 0, "seconds": 0}
    deaths = covered = 0
    log = logs / f"{given.reader}.log"
    while (left := given.seconds - totals["seconds"]) > _NEGLIGIBLE * given.seconds:
        status, said, counted = _once(given.reader, corpus, findings, log, left, flags)
        totals = {name: total + counted[name] for name, total in totals.items()}
        covered = max([covered, *map(int, re.findall(r"cov: (\d+)", said))])
        deaths += status != 0
        if not counted["runs"]:
            print(f"the process ends before it searches (status {status}): see {log}", file=sys.stderr)
            return 2
    inputs = (path for path in findings.glob(f"{given.reader}_*") if path.suffix != ".txt")
    new = sorted(path.name for path in inputs if path.stat().st_mtime >= began)
    print(json.dumps({"reader": given.reader, **totals, "edges": covered, "deaths": deaths, "findings": new}))
    return int(bool(new))


def _once(
    reader: str, corpus: Path, findings: Path, log: Path, seconds: float, flags: list[str]
) -> tuple[int, str, dict[str, int]]:
    """One process's exit status, what it said and what it counted."""
    count = log.with_suffix(".count")
    count.write_text('{"runs": 0, "opened": 0, "seconds": 0}')
    # In memory where that is possible: on a disk, making and removing files takes longer than reading them.
    scratch = tempfile.mkdtemp(prefix="xray-fuzz-", dir=MEMORY if MEMORY.is_dir() else None)
    told = [
        f"-artifact_prefix={findings}/{reader}_",
        f"-timeout={HANG_SECONDS}",
        "-rss_limit_mb=4096",
        f"-max_len={LONGEST}",
        "-print_final_stats=1",
        *flags,
        str(corpus),
    ]
    command = [sys.executable, "-m", "tests.fuzz", "--search", reader, str(findings), str(count), str(seconds), *told]
    environment = {**os.environ, "TMPDIR": scratch, "JAX_PLATFORMS": "cpu"}
    with open(log, "wb") as file:
        status = subprocess.run(command, stdout=file, stderr=file, env=environment).returncode
    shutil.rmtree(scratch, ignore_errors=True)
    return status, log.read_text(errors="replace"), json.loads(count.read_text())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--search"]:
        search(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), float(sys.argv[5]), sys.argv[6:])
    sys.exit(main())

"""Keeps in the repository what is worth replaying of a search: the smallest input for each way to be refused or opened.

python -m tests.fuzz.distil --corpus=DIR
"""

import argparse
import re
import tempfile
from pathlib import Path

from tests.fuzz import corpora
from tests.fuzz.targets import REHEARSAL, TARGETS, Target
from tests.fuzz.watch import Finding, Watch

LONGEST = 2048
"""Bytes of an input that is not a seed."""
MOST = 40
"""Inputs a reader, seeds aside; of more the smallest."""

ENDED = re.compile("parsing it took|parser crashed")
"""Of the process that looks at programs first: each such input would cost the tests a new one, seconds."""


def outcome(target: Target, data: bytes) -> str:
    """How reading goes, without what differs from file to file: numbers, and whatever is quoted."""
    with tempfile.TemporaryDirectory() as folder:
        path = target.place(data, Path(folder))
        try:
            target.read(path)
        except target.error as error:
            text = str(error).replace(folder, "")
            return re.sub(r"0x[0-9a-f]+|\d+|'[^']*'|\"[^\"]*\"|\[[^]]*\]", "#", text)[:60]
        return "opened"


def distinct(target: Target, watch: Watch, inputs: list[bytes]) -> list[bytes]:
    """The smallest input for each outcome."""
    found: dict[str, bytes] = {}
    for data in sorted(inputs, key=len):
        try:
            watch.examine(target, data)
        except Finding:
            # Still to be mended: then it is a test of its own.
            continue
        if not ENDED.search(how := outcome(target, data)):
            found.setdefault(how, data)
    return sorted(found.values(), key=len)[:MOST]


def main() -> None:
    """Adds to the corpora of the repository."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.distil", description="Keeps inputs worth replaying.")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of searches")
    corpus = parser.parse_args().corpus / "corpus"
    with tempfile.TemporaryDirectory() as scratch:
        watch = Watch(Path(scratch))
        for reader, target in TARGETS.items():
            seeds = list(corpora.kept(reader).values())
            files = (corpus / reader).glob("*") if (corpus / reader).is_dir() else ()
            inputs = [data for data in (file.read_bytes() for file in files) if len(data) <= LONGEST]
            chosen = distinct(target, watch, inputs)
            corpora.keep(reader, [*seeds, *chosen])
            print(f"{reader}: {len(inputs)} inputs, {len(chosen)} kept")
    REHEARSAL.stop()


if __name__ == "__main__":
    main()

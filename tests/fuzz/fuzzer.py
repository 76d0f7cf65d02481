"""The process in which atheris searches: started by the command, again whenever an input ends it."""

import functools
import hashlib
import json
import os
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

INSTRUMENTED = ("xray_jax.checkpoints", "xray_jax.samples", "xray_jax.sweep.checkpoint_list",
                "xray_jax.sweep.sources.address", "numpy.lib", "zipfile", "PIL", "onnx.numpy_helper")  # fmt: skip
"""Where coverage guides: the readers, and what they use that is written in Python."""


class Search:
    """Runs inputs and keeps what it finds, the smallest input for each.

    Attributes:
      reader: a name in `targets.TARGETS`.
      findings: folder of one input and one explanation a finding.
      count: file in which it is kept how many inputs were run and opened, in how many seconds of the processor.
      seconds: of the processor, after which the process ends; those of the process that looks at programs first count.
    """

    def __init__(self, reader: str, findings: Path, count: Path, seconds: float, scratch: Path) -> None:
        from tests.fuzz import corpora
        from tests.fuzz.targets import REHEARSAL, TARGETS
        from tests.fuzz.watch import Watch

        self.findings, self.count, self.seconds = findings, count, seconds
        self._reader, self._target, self._watch = reader, TARGETS[reader], Watch(scratch)
        self._watch.warm(self._target, corpora.kept(reader).values())
        self._runs, self._opened = 0, 0
        self._began, self._told = time.process_time() + REHEARSAL.seconds, time.monotonic()

    def one(self, data: bytes) -> None:
        """One input of the search."""
        from tests.fuzz.targets import REHEARSAL
        from tests.fuzz.watch import Finding

        self._runs += 1
        try:
            self._opened += self._watch.examine(self._target, data)
        except Finding as finding:
            self._found(finding, data)
        if time.monotonic() - self._told > 1:
            self._told = time.monotonic()
            seconds = time.process_time() + REHEARSAL.seconds - self._began
            counted = {"runs": self._runs, "opened": self._opened, "seconds": round(seconds)}
            self.count.write_text(json.dumps(counted))
            if seconds >= self.seconds:
                # libFuzzer's own limit is of the clock. What it keeps lies in its folder already.
                os._exit(0)

    def _found(self, finding: Any, data: bytes) -> None:
        path = self.findings / f"{self._reader}_{hashlib.sha256(finding.key.encode()).hexdigest()[:12]}"
        if not path.exists() or path.stat().st_size > len(data):
            path.write_bytes(data)
            path.with_suffix(".txt").write_text(f"{finding.key}\n{finding}\n")


def mutate(reader: str, data: bytes, longest: int, seed: int) -> bytes:
    """Another input: of two, one with other bytes and one that says something else."""
    import atheris

    from tests.fuzz.mutations import json_inside, onnx_inside

    chance = random.Random(seed)
    other = None
    if chance.random() < 0.5:
        other = onnx_inside(data, chance) if reader == "onnx" else json_inside(data, chance, same_length=reader == "h5")
    if other is None or len(other) > longest:
        return bytes(atheris.Mutate(data, longest))
    return other


def main(reader: str, findings: Path, count: Path, seconds: float, flags: list[str]) -> None:
    """Searches for so many seconds of the processor, or as long as libFuzzer's flags say; never returns."""
    import atheris

    with atheris.instrument_imports(include=list(INSTRUMENTED), enable_loader_override=False):
        import tests.fuzz.targets  # noqa: F401
    warnings.simplefilter("ignore")
    scratch = tempfile.mkdtemp(prefix="xray-fuzz-")
    search = Search(reader, findings, count, seconds, Path(scratch))
    atheris.Setup([sys.argv[0], *flags], search.one, custom_mutator=functools.partial(mutate, reader))
    atheris.Fuzz()

"""A batch scan of thousands of checkpoints that is killed again and again, beside one that is left alone.

python -m tests.sweep.soak --folder=NEW_FOLDER --checkpoints=10000 --pills=10 --kills=30 --seed=0

Run by hand on Linux, as root and with a C compiler, see docs/soak.md. Writes `summary.json` and `summary.md` into the
folder; exit code 1 when a row is lost, doubled, different or silently clean.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import factory
from tests.detectors import toy_package
from tests.places import ROOT
from tests.processes import compiled_once
from tests.sweep import soak_checks, soak_zoo
from tests.sweep.soak_checks import Sample
from xray_jax.rows import file as row_file

LOOK = 0.5
WORKERS = 2
FULL = 48 << 10
"""Bytes that are left on a disk that fills up."""


class Scan:
    """The command of the soak, and what is looked at while it runs.

    Attributes:
      out: its row file.
      samples: what was seen of its processes so far.
    """

    def __init__(self, folder: Path, out: Path, timeout: float, clock: Path | None = None) -> None:
        self.out, self.samples = out, list[Sample]()
        self.log = folder / f"{out.stem}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            sys.executable, "-m", "xray_jax.scripts.scan", f"--checkpoints={folder / 'zoo'}", f"--out={out}",
            f"--samples={folder / 'samples.npz'}", f"--calibration={folder / 'calibration.json'}", "--isolate",
            f"--workers={WORKERS}", f"--timeout={timeout:g}", "--memory=4", "--detectors=pill,planes", "--planes=4",
            "--sampling=sketch",
        ]  # fmt: skip
        paths = os.pathsep.join((str(folder / "site"), str(ROOT)))
        self._environment = {**os.environ, **compiled_once(folder / "compiled"), "PYTHONPATH": paths}
        if clock is not None:
            self._environment |= {"LD_PRELOAD": str(clock.with_suffix(".so")), "CLOCK_BACK": str(clock)}
        self._counted = (0, 0)

    def start(self) -> "subprocess.Popen[bytes]":
        """Starts it, or goes on with it."""
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, cwd=self.log.parent
            )
        self._process = process
        threading.Thread(target=self._look, args=(process,), daemon=True).start()
        return process

    def close(self) -> None:
        """Ends what still runs; its workers end with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def rows(self) -> int:
        """Rows that are written."""
        offset, count = self._counted
        with contextlib.suppress(FileNotFoundError), open(self.out, "rb") as file:
            file.seek(offset)
            new = file.read()
            # A line that is being written counts when it is whole.
            end = new.rfind(b"\n") + 1
            self._counted = offset, count = offset + end, count + new[:end].count(b"\n")
        return count

    def _look(self, process: "subprocess.Popen[bytes]") -> None:
        begin = time.monotonic()
        while process.poll() is None:
            for each in (process.pid, *children(process.pid)):
                with contextlib.suppress(OSError, IndexError, ValueError):
                    resident = int(Path(f"/proc/{each}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
                    now, own = time.monotonic() - begin, each == process.pid
                    self.samples.append(Sample(now, each, own, resident / (1 << 20), own or busy(each)))
            time.sleep(LOOK)


def children(process: int) -> list[int]:
    """Processes that it has started, in the order of their numbers."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return sorted(found)


def busy(process: int) -> bool:
    """Whether one of its threads runs, could run, or waits for a disk."""
    states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in _tasks(process)]
    return any(state in "RD" for state in states)


def _tasks(process: int) -> Iterator[Path]:
    yield from Path(f"/proc/{process}/task").iterdir()


def set_back(clock: Path, seconds: int) -> None:
    """Sets the clock of processes with `clock_back.c` back; in place, because they have the file mapped."""
    with open(clock, "r+b" if clock.exists() else "wb") as file:
        file.write(struct.pack("=q", seconds))


def undisturbed(scan: Scan) -> float:
    """Runs it to its end; seconds."""
    begin = time.monotonic()
    _expect_errors(scan.start().wait(), scan)
    return time.monotonic() - begin


def disturbed(scan: Scan, moments: list[tuple[int, str]], seed: int, disk: Path, clock: Path) -> dict[str, Any]:
    """Runs it while everything happens to it, then until it ends well; what happened."""
    draw, happened, begin = random.Random(seed), Counter[str](), time.monotonic()
    process, starts = scan.start(), 1
    for moment, what in moments:
        while scan.rows() < moment:
            if process.poll() is not None:
                raise RuntimeError(f"it ended with {process.returncode} at row {scan.rows()}, see {scan.log}")
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 0.3))
        if what == "worker":
            workers = children(process.pid)
            if workers:
                os.kill(draw.choice(workers), signal.SIGKILL)
        elif what == "clock":
            set_back(clock, 3600)
        else:
            if what == "disk":
                with full(disk):
                    process.wait(600)
            else:
                os.kill(process.pid, getattr(signal, what))
                process.wait(60)
            happened[f"ended by {what} with {process.returncode}"] += 1
            process, starts = scan.start(), starts + 1
        happened[what] += 1
    _expect_errors(process.wait(), scan)
    seconds, rows = time.monotonic() - begin, scan.rows()
    begin = time.monotonic()
    _expect_errors(scan.start().wait(), scan)
    return {
        "seconds": seconds,
        "starts": starts,
        "happened": dict(happened),
        "rows added by one more run": scan.rows() - rows,
        "seconds of one more run": time.monotonic() - begin,
        "journal left": Path(f"{scan.out}.attempts").exists(),
    }


def _expect_errors(code: int, scan: Scan) -> None:
    # Hostile files and pills are errors, which is exit code 2.
    if code != 2:
        raise RuntimeError(f"it ended with {code}, see {scan.log}")


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fills a small disk but for `FULL` bytes, and makes room again."""
    room = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - FULL)))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own, in memory; needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "soak", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def soak(folder: Path, checkpoints: int, pills: int, kills: int, seed: int, timeout: float) -> dict[str, Any]:
    """Both runs and what came of them."""
    folder.mkdir(parents=True)
    toy_package.install(folder / "site")
    factory.save_samples(folder / "samples.npz", soak_zoo.truthful_samples())
    planes = {"expansion": 5.0, "alpha": 10.0, "ats_cap": 0.5, "ats": "component", "input_space": "normalised"}
    settings = {**planes, "planes": 4, "density": 100}
    limits = {"re_threshold": 0.5, "ats_threshold": 0.01, "source": "soak", "settings": settings}
    (folder / "calibration.json").write_text(json.dumps(limits))
    begin = time.monotonic()
    expected = soak_zoo.write(folder / "zoo", checkpoints, pills, seed)
    print(f"{checkpoints} checkpoints written in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    with contextlib.closing(Scan(folder, folder / "undisturbed.jsonl", timeout)) as alone:
        seconds = undisturbed(alone)
    print(f"undisturbed: {alone.rows()} rows in {seconds:.0f} s", file=sys.stderr, flush=True)
    clock = folder / "clock"
    set_back(clock, 0)
    source = Path(__file__).with_name("clock_back.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", clock.with_suffix(".so"), source], check=True)
    moments = soak_checks.events(seed, len(expected), kills)
    size = 8 + 2 * (alone.out.stat().st_size >> 20)
    with (
        small_disk(folder / "disk", size) as disk,
        contextlib.closing(Scan(folder, disk / "disturbed.jsonl", timeout, clock)) as scan,
    ):
        run = disturbed(scan, moments, seed, disk, clock)
        found = soak_checks.compare(expected, row_file.read(alone.out), row_file.read(scan.out))
        rows = list(row_file.read(scan.out))
        (folder / scan.out.name).write_bytes(scan.out.read_bytes())
    outcomes = Counter(row["verdict"] or row["status"] for row in rows)
    idle, idle_disturbed = soak_checks.idle_share(alone.samples), soak_checks.idle_share(scan.samples)
    return {
        "checkpoints": checkpoints,
        "kinds": dict(Counter(expected.values())),
        "formats": dict(Counter(str(row["format"]) for row in rows)),
        "outcomes": dict(outcomes),
        "rows expected": len(expected),
        "rows": len(rows),
        "faults": found.faults,
        **{name.replace("_", " "): value for name, value in vars(found).items()},
        "hostile code ran": (folder / "canary").exists(),
        "undisturbed seconds": seconds,
        "disturbed": run,
        "checkpoints an hour": {
            "undisturbed": checkpoints / seconds * 3600,
            "disturbed": checkpoints / run["seconds"] * 3600,
        },
        "idle share of workers": {"undisturbed": idle, "disturbed": idle_disturbed},
        "MiB": soak_checks.memory(alone.samples),
        "disk": f"tmpfs of {size} MiB, filled but for {FULL >> 10} KiB",
    }


def main() -> int:
    """Flags to one soak."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True, help="A new folder.")
    parser.add_argument("--checkpoints", type=int, default=10_000)
    parser.add_argument("--pills", type=int, default=10, help="Of each kind.")
    parser.add_argument("--kills", type=int, default=30, help="Of workers and the supervisor.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=60.0, help="Seconds that a checkpoint may take.")
    given = vars(parser.parse_args())
    summary = soak(**{**given, "folder": given["folder"].resolve()})
    (given["folder"] / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    text = "".join(f"| {name} | {value} |\n" for name, value in summary.items())
    (given["folder"] / "summary.md").write_text(f"| | |\n|---|---|\n{text}")
    print(text)
    return int(summary["faults"] > 0 or summary["hostile code ran"])


if __name__ == "__main__":
    sys.exit(main())

"""Commands that are told to end while they scan in their own process: at once, with nothing left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import factory
from tests.detectors import toy_package
from tests.sweep.pills import MARKERS, save_pill
from tests.sweep.sources.servers import Served, Server, serve
from xray_jax.sweep.signals import exit_on_signals

_SCAN = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    # Whoever runs the tests may ignore them, and so would what is started.
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
from xray_jax.scripts.scan import run
run()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_an_orderly_exit_and_a_second_one_does_not_disturb_it(number: signal.Signals) -> None:
    put_away = []

    def run() -> None:
        with exit_on_signals():
            try:
                signal.raise_signal(number)
            finally:
                signal.raise_signal(number)
                put_away.append("all")

    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as left:
            run()
        assert (left.value.code, put_away) == (128 + number, ["all"])
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_what_is_ignored_stays_ignored() -> None:
    """As by `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with exit_on_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_scan_that_is_told_to_end_waits_for_no_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    """One checkpoint never ends and one is still being fetched."""
    site, temporary = toy_package.install(tmp_path / "site"), tmp_path / "tmp"
    temporary.mkdir()
    save_pill(tmp_path, "hangs", MARKERS["hangs"])
    samples, out = factory.save_samples(tmp_path / "samples.npz"), tmp_path / "rows.jsonl"
    with serve(Server({"/slow.safetensors": Served(b"x" * 100_000, drip=0.01)})) as server:
        lines = [{"path": "hangs.safetensors"}, {"path": f"{server.url}/slow.safetensors"}]
        (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
        flags = [f"--checkpoints={tmp_path / 'list.jsonl'}", f"--samples={samples}", f"--out={out}", "--detectors=pill"]
        process = subprocess.Popen(
            [sys.executable, "-c", _SCAN, *flags],
            env={
                **os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "TMPDIR": str(temporary),
            },
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            while not (server.bodies() and _sleeps(process.pid)):
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.05)
            assert list(temporary.iterdir())
            process.send_signal(number)
            code = process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            said = process.communicate()[1]
    assert code == 128 + number, said
    assert ("interrupted; the same command goes on" in said) == (number == signal.SIGINT)
    assert list(temporary.iterdir()) == []
    assert out.read_bytes() == b""


def _sleeps(process: int) -> bool:
    """Whether the detector that never ends has begun: it waits for a child."""
    return any(file.read_text().strip() for file in Path(f"/proc/{process}/task").glob("*/children"))

"""The hostile corpus through the whole command in worker processes: nothing runs, nothing is left.

Beside rows and pictures the command keeps compiled programs, where it is told to; homes and folders for temporary files
stay empty.
"""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests import factory
from tests.checkpoints import test_hostile as corpus
from tests.processes import compiled_once

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="lists processes under /proc")
MARK = "XRAY_JAX_TEST_OF_HOSTILE_FILES"


def _marked(value: str) -> list[str]:
    """Command lines of the processes that were started with this mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={value}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found


def _tree(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.filterwarnings("ignore")
def test_every_hostile_file_is_one_error_row_and_leaves_nothing_behind(tmp_path: Path) -> None:
    zoo, canary = tmp_path / "zoo", tmp_path / "canary"
    out, plots, compiled = tmp_path / "out", tmp_path / "plots", tmp_path / "compiled"
    for name in ("zoo", "out", "home", "tmp", "here"):
        (tmp_path / name).mkdir()
    for number, payload in enumerate(corpus.payloads(canary).values()):
        data = pickle.dumps(payload, 2)
        for suffix, content in ((".pkl", data), (".pt", corpus.as_zip(data)), (".pth", corpus.as_legacy(data))):
            (zoo / f"hostile-{number}{suffix}").write_bytes(content)
    for number, content in enumerate(corpus.HAND_MADE.values()):
        (zoo / f"hand-made-{number}.pkl").write_bytes(content)
    hostile = len(_tree(zoo))
    good = factory.save_tiny(zoo / "good.safetensors")
    (zoo / "torn.safetensors").write_bytes(good.read_bytes()[:1000])
    samples = factory.save_samples(tmp_path / "samples.npz")
    before = _tree(tmp_path)

    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "JAX_PLATFORMS", "LD_LIBRARY_PATH")}
    homes = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), MARK: str(tmp_path)}
    ended = subprocess.run(
        [
            sys.executable, "-B", "-c", "from xray_jax.scripts.scan import run; run()", f"--checkpoints={zoo}",
            f"--samples={samples}", f"--out={out / 'rows.jsonl'}", f"--plots={plots}", "--plot=flagged", "--isolate",
            "--memory=4", "--detectors=planes", "--planes=2", "--density=12", "--sampling=grid",
        ],
        env={**kept, **homes, **compiled_once(compiled), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path / "here", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert _marked(str(tmp_path)) == []
    assert not canary.exists()
    new = {path for path in _tree(tmp_path) - before if not path.is_relative_to(plots)}
    assert {path for path in new if not path.is_relative_to(compiled)} == {out / "rows.jsonl"}
    assert plots.is_dir()

    rows = {row["id"]: row for row in map(json.loads, (out / "rows.jsonl").read_text().splitlines())}
    assert rows.pop("good.safetensors")["status"] == "ok"
    assert rows.pop("torn.safetensors")["status"] == "error"
    assert len(rows) == hostile
    assert {row["status"] for row in rows.values()} == {"error"}
    assert all("nothing was run" in row["reason"] for row in rows.values())

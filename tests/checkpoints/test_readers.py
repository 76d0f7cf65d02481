"""Readers of other packages: a toy package, as pip would install it, beside this one."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from xray_jax import checkpoints
from xray_jax.checkpoints import formats, readers

TOY = textwrap.dedent(
    '''
    """Weights as JSON behind a signature."""
    import json
    import numpy as np
    from xray_jax.checkpoints import Tensors

    NAME = "toy"

    def matches(path, head):
        return head.startswith(b"TOY")

    def read(path):
        arrays = {name: np.array(rows, np.float32) for name, rows in json.loads(path.read_bytes()[3:]).items()}
        return Tensors(arrays, size=path.stat().st_size)
    '''
)
ENTRIES = """
[xray_jax.checkpoint_readers]
toy = toy
broken = toy_broken
exits = toy_exits
empty = json
shadow = toy_shadow:Greedy
cannot_look = toy_shadow:CannotLook
fails = toy_shadow:Fails
"""
SHADOW = textwrap.dedent(
    """
    class Greedy:
        NAME = "safetensors"
        matches = read = lambda *_: 1 / 0

    class CannotLook:
        NAME = "blind"
        matches = staticmethod(lambda path, head: 1 / 0)
        read = staticmethod(lambda path: None)

    class Fails:
        NAME = "fails"
        matches = staticmethod(lambda path, head: head.startswith(b"FAILS"))
        read = staticmethod(lambda path: 1 / 0 if b"0" in path.read_bytes() else 3)
    """
)
PROGRAM = """
import json, sys
from xray_jax import checkpoints
said = []
for path in sys.argv[1:]:
    try:
        model = checkpoints.load(path)
        said.append([checkpoints.format_of(path).NAME, model.num_classes, *model.notes])
    except checkpoints.CheckpointError as error:
        said.append(str(error))
print(json.dumps({"said": said, "imported": "toy" in sys.modules}))
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages."""
    info = tmp_path / "site" / "toy_reader-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-reader\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    for name, text in {
        "toy": TOY, "toy_broken": "import gone_forever", "toy_exits": "exit(3)", "toy_shadow": SHADOW
    }.items():  # fmt: skip
        (info.parent / f"{name}.py").write_text(text)
    return info.parent


def run(site: Path, *paths: Path) -> tuple[dict, str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", PROGRAM, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_format_of_another_package(site: Path, tmp_path: Path) -> None:
    head = np.random.default_rng(0).normal(size=(5, 64 * 3))
    toy = written(tmp_path / "a.toy", b"TOY" + json.dumps({"fc.weight": head.tolist()}).encode())
    failing, useless = written(tmp_path / "b", b"FAILS0"), written(tmp_path / "c", b"FAILS1")
    found, warned = run(site, toy, failing, useless, written(tmp_path / "d", b"????"))
    opened, failed, wrong, unknown = found["said"]
    assert opened[:2] == ["toy", 5]
    assert "read by toy-reader 1.2" in opened
    assert f"{failing}: the reader 'fails' of toy-reader 1.2 failed on it (ZeroDivisionError" in failed
    assert "the reader 'fails' of toy-reader 1.2 gave int, expected Tensors" in wrong
    assert "not a checkpoint file of a known format" in unknown
    assert "toy" in unknown.partition("readable: ")[2]
    for name, why in {
        "broken": "ModuleNotFoundError", "exits": "SystemExit", "empty": "no NAME", "shadow": "'safetensors' already"
    }.items():  # fmt: skip
        assert f"the checkpoint reader {name!r} of toy-reader 1.2 is left out" in warned
        assert why in warned
    assert "the checkpoint reader 'blind' of toy-reader 1.2 cannot look at a file (ZeroDivisionError" in warned
    assert warned.count("cannot look") == 1


def test_built_in_formats_are_asked_first_and_alone(site: Path, tmp_path: Path) -> None:
    weights = {"params": {"fc": {"kernel": np.ones((192, 5), np.float32), "bias": np.zeros(5, np.float32)}}}
    checkpoints.save_safetensors(tmp_path / "a.safetensors", weights, {})
    found, warned = run(site, tmp_path / "a.safetensors")
    assert found["said"][0][:2] == ["safetensors", 5]
    assert not found["imported"]
    assert "toy-reader" not in warned


def test_built_in_readers_keep_the_protocol() -> None:
    assert all(isinstance(reader, readers.Reader) for reader in formats.BUILT_IN)

"""Damaged files, of every format: exactly the arrays that were written, or an error; never a crash.

Of the formats here zip-based ones and native checkpoints have checksums of their arrays, and must never give a wrong
one. Torch's stream format, plain pickles, and foreign msgpack, safetensors and orbax have none: there a flipped bit in
the numbers is a wrong number, for every reader.
"""

import collections
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import serialization
from safetensors.numpy import save_file

from xray_jax import checkpoints
from xray_jax.checkpoints import CheckpointError, formats

FLIPS = 200
"""Of each kind, alternating bits and bytes; raise it for a longer search."""

GENERATOR = np.random.default_rng(0)
ARRAYS = {
    "conv1.weight": GENERATOR.normal(size=(4, 3, 3, 3)).astype(np.float32),
    "bn1.weight": GENERATOR.normal(size=4).astype(np.float32),
    "linear.weight": GENERATOR.normal(size=(10, 4)).astype(np.float32),
}
TREE = {"params": {name.replace(".", "_"): array for name, array in ARRAYS.items()}}


def torch_file(path: Path, zipped: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch writes these (extra `test`)")
    content = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}
    torch.save({"state_dict": content}, path, _use_new_zipfile_serialization=zipped)


def foreign_orbax(path: Path) -> None:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, TREE)


def _npz(save: Any, path: Path) -> None:
    # Through an open file, because numpy adds a suffix to a name without one.
    with path.open("wb") as file:
        save(file, **ARRAYS)


CHECKED = {
    "torch zip": lambda path: torch_file(path, True),
    "npz": lambda path: _npz(np.savez, path),
    "compressed npz": lambda path: _npz(np.savez_compressed, path),
    "native msgpack": lambda path: checkpoints.save_msgpack(path, TREE, {"num_classes": 10}),
    "native safetensors": lambda path: checkpoints.save_safetensors(path, TREE, {"num_classes": 10}),
    "native orbax": lambda path: checkpoints.save_orbax(path, TREE, {"num_classes": 10}),
}
UNCHECKED = {
    "torch stream": lambda path: torch_file(path, False),
    "pickle": lambda path: path.write_bytes(pickle.dumps(ARRAYS, 4)),
    "msgpack": lambda path: path.write_bytes(serialization.to_bytes(TREE)),
    "safetensors": lambda path: save_file(ARRAYS, path),
    "orbax": foreign_orbax,
}


def read(path: Path):
    return {name: np.asarray(array) for name, array in formats.read(path).arrays.items()}


def outcome(path: Path, good) -> str:
    try:
        found = read(path)
    except CheckpointError:
        return "error"
    same = found.keys() == good.keys() and all(
        found[name].dtype == good[name].dtype and found[name].tobytes() == good[name].tobytes() for name in good
    )
    return "same" if same else "wrong"


def damage(path: Path, changes) -> collections.Counter:
    """How reading goes after each of `changes`: (file, its bytes after the change); the file is restored each time."""
    good = read(path)
    outcomes: collections.Counter = collections.Counter()
    for file, data in changes:
        intact = file.read_bytes()
        file.write_bytes(data)
        outcomes[outcome(path, good)] += 1
        file.write_bytes(intact)
    assert read(path).keys() == good.keys()
    return outcomes


def files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]


def flips(path: Path, count: int, seed: int = 0):
    generator = random.Random(seed)
    files = files_of(path)
    sizes = [file.stat().st_size for file in files]
    for k in range(count):
        file = generator.choices(files, sizes)[0]
        data = bytearray(file.read_bytes())
        # Single bits and whole bytes in turn.
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8) if k % 2 else generator.randrange(1, 256)
        yield file, bytes(data)


@pytest.mark.parametrize("kind", {**CHECKED, **UNCHECKED})
def test_flipped_bytes(kind, tmp_path):
    path = tmp_path / "a.msgpack" if "msgpack" in kind else tmp_path / "a"
    {**CHECKED, **UNCHECKED}[kind](path)
    outcomes = damage(path, flips(path, FLIPS))
    assert outcomes["error"] > 0
    if kind in CHECKED:
        assert outcomes["wrong"] == 0, outcomes


@pytest.mark.parametrize("kind", {**CHECKED, **UNCHECKED})
def test_truncated_at_every_percent(kind, tmp_path):
    path = tmp_path / "a.msgpack" if "msgpack" in kind else tmp_path / "a"
    {**CHECKED, **UNCHECKED}[kind](path)
    file = max(files_of(path), key=lambda entry: entry.stat().st_size)
    data = file.read_bytes()
    outcomes = damage(path, [(file, data[: len(data) * percent // 100]) for percent in range(100)])
    assert outcomes["wrong"] == 0
    if path.is_file():
        assert outcomes == {"error": 100}

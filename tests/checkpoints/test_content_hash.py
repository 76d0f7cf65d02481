"""The content hash covers all that is read for a model, and nothing that no reader would open."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from xray_jax import checkpoints


def shard(path: Path, value: float) -> None:
    save_file({path.stem[:1]: np.full(3, value, np.float32)}, path)


def index(folder: Path, *shards: str) -> Path:
    path = folder / "net.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {name[:1]: name for name in shards}}))
    return path


def test_a_single_file_is_its_own_sha256(tmp_path: Path) -> None:
    shard(tmp_path / "a.safetensors", 1)
    alone = hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()
    assert checkpoints.sha256(tmp_path / "a.safetensors") == alone
    (tmp_path / "b.bin").write_bytes(b"beside it")
    assert checkpoints.sha256(tmp_path / "a.safetensors") == alone


def test_an_index_is_hashed_with_its_shards(tmp_path: Path) -> None:
    shard(tmp_path / "a.safetensors", 1)
    shard(tmp_path / "b.safetensors", 2)
    shard(tmp_path / "c.safetensors", 3)
    path = index(tmp_path, "a.safetensors", "b.safetensors")
    first = checkpoints.sha256(path)
    shard(tmp_path / "c.safetensors", 4)
    assert checkpoints.sha256(path) == first
    shard(tmp_path / "b.safetensors", 3)
    assert checkpoints.sha256(path) != first
    shard(tmp_path / "b.safetensors", 2)
    assert checkpoints.sha256(path) == first


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "gone.safetensors"])
def test_what_an_index_may_not_name_is_not_opened(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    path = index(folder, name)
    assert checkpoints.sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_empty_members_of_a_folder_count(tmp_path: Path) -> None:
    shard(tmp_path / "model.safetensors", 1)
    first = checkpoints.sha256(tmp_path)
    (tmp_path / "lock").touch()
    assert checkpoints.sha256(tmp_path) != first
    (tmp_path / "empty.pt").touch()
    with pytest.raises(checkpoints.CheckpointError, match="empty"):
        checkpoints.sha256(tmp_path / "empty.pt")

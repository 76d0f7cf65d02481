"""The content hash covers all that is read for a model, and nothing that no reader would open."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests import factory
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
    net = factory.save_tiny(tmp_path / "net")
    first = checkpoints.sha256(net)
    (net / "lock").touch()
    assert checkpoints.sha256(net) != first
    (tmp_path / "empty.pt").touch()
    with pytest.raises(checkpoints.CheckpointError, match="empty"):
        checkpoints.sha256(tmp_path / "empty.pt")


def test_a_hugging_face_folder_is_what_is_read_of_it(tmp_path: Path) -> None:
    shard(tmp_path / "a.safetensors", 1)
    index(tmp_path, "a.safetensors").rename(tmp_path / "model.safetensors.index.json")
    first = checkpoints.sha256(tmp_path)
    (tmp_path / "README.md").write_text("about it")
    (tmp_path / "other.pth").write_bytes(b"another one")
    assert checkpoints.sha256(tmp_path) == first
    (tmp_path / "config.json").write_text("{}")
    second = checkpoints.sha256(tmp_path)
    shard(tmp_path / "a.safetensors", 2)
    assert len({first, second, checkpoints.sha256(tmp_path)}) == 3


def test_a_step_of_orbax_is_what_is_read_of_it(tmp_path: Path) -> None:
    factory.save_tiny(tmp_path / "3" / "default")
    first = checkpoints.sha256(tmp_path)
    (tmp_path / "other.pth").write_bytes(b"another one")
    assert checkpoints.sha256(tmp_path) == first
    (tmp_path / "3" / "_CHECKPOINT_METADATA").write_text("{}")
    second = checkpoints.sha256(tmp_path)
    factory.save_tiny(tmp_path / "4" / "default", 1)
    assert len({first, second, checkpoints.sha256(tmp_path)}) == 3

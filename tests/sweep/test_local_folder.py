"""A folder is listed as it would be elsewhere: what is one checkpoint is one, and nothing hides behind it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests import factory
from xray_jax import checkpoints
from xray_jax.sweep.checkpoint_list import collect, unsearched
from xray_jax.sweep.sources.grouping import groups
from xray_jax.sweep.sources.remote import RemoteFile

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def ids(folder: Path) -> list[str]:
    return [entry.id for entry in collect(str(folder))]


def elsewhere(folder: Path) -> list[str]:
    """What the same folder is elsewhere."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(group.name or folder.name for group in groups(RemoteFile(name, name) for name in files))


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"some bytes")


def sharded(folder: Path, stem: str = "model") -> None:
    """Weights in two shards, and their index."""
    names = [name.replace("model", stem) for name in SHARDS]
    for key, name in zip("ab", names, strict=True):
        save_file({key: np.ones(3, np.float32)}, folder / name)
    index = {"weight_map": dict(zip("ab", names, strict=True))}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index))


def test_a_decoy_at_the_root_hides_nothing(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    write(zoo, "pytorch_model.bin", "epoch10.pth", "b.onnx", "sub/other.pth", "README.md")
    factory.save_tiny(zoo / "model.safetensors")
    assert ids(zoo) == elsewhere(zoo) == ["b.onnx", "epoch10.pth", "sub/other.pth", "zoo"]
    factory.save_tiny(zoo / "weights.safetensors").rename(zoo / "weights")
    assert ids(zoo) == ["b.onnx", "epoch10.pth", "sub/other.pth", "weights", "zoo"]
    assert {entry.path for entry in collect(str(zoo)) if entry.id == "zoo"} == {zoo}


@pytest.mark.parametrize("tree", ["", "model", "7", "7/default"])
def test_a_decoy_of_orbax_hides_nothing(tmp_path: Path, tree: str) -> None:
    zoo = tmp_path / "zoo"
    factory.save_tiny(zoo / tree)
    write(zoo, "a.pth", "net/b.onnx", f"{tree}/c.npz".lstrip("/"))
    factory.save_tiny(zoo / "second")
    assert ids(zoo) == elsewhere(zoo) == sorted({"zoo", "a.pth", "net/b.onnx", f"{tree}/c.npz".lstrip("/"), "second"})


def test_one_checkpoint_is_one_entry(tmp_path: Path) -> None:
    net = tmp_path / "net"
    write(net, "config.json", "README.md", "vocabulary.txt", "pytorch_model.bin", "tf_model.h5", ".cache/lock")
    write(net, "flax_model-00001-of-00002.msgpack", "flax_model-00002-of-00002.msgpack")
    sharded(net)
    (entry,) = collect(str(net))
    assert (entry.id, entry.path, entry.listed) == ("net", net, True)
    assert elsewhere(net) == ["net"]
    factory.save_tiny(tmp_path / "orbax")
    factory.save_tiny(tmp_path / "steps" / "3" / "default")
    factory.save_tiny(tmp_path / "steps" / "4" / "default")
    write(tmp_path, "steps/4/_CHECKPOINT_METADATA", "steps/4/metrics/metrics")
    assert ids(tmp_path) == elsewhere(tmp_path) == ["net", "orbax", "steps"]


def test_shards_with_an_index_are_one_entry_and_others_are_told_apart(tmp_path: Path) -> None:
    sharded(tmp_path, "net")
    write(tmp_path, "old-00001-of-00002.bin", "old-00002-of-00002.bin")
    assert ids(tmp_path) == ["net.safetensors", "old-00001-of-00002.bin", "old-00002-of-00002.bin"]
    assert collect(str(tmp_path))[0].path == tmp_path / "net.safetensors.index.json"


def test_names_that_are_taken_get_a_number(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    write(zoo, "net.safetensors", "zoo/config.json")
    factory.save_tiny(zoo / "model.safetensors")
    factory.save_tiny(zoo / "zoo" / "model.safetensors")
    sharded(zoo, "net")
    assert ids(zoo) == ["net-00001-of-00002.safetensors", "net.safetensors", "zoo", "zoo (2)"]
    assert [entry.path for entry in collect(str(zoo))][2:] == [zoo, zoo / "zoo"]


def test_a_folder_of_a_format_that_is_refused_is_one_entry(tmp_path: Path) -> None:
    write(tmp_path, "saved/saved_model.pb", "saved/variables/variables.data-00000-of-00001", "b.pth")
    assert ids(tmp_path) == ["b.pth", "saved"]


def test_names_of_weights_that_are_none_hide_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "gone")
    write(tmp_path, "pytorch_model.bin.d/a.pth", "config.json")
    assert ids(tmp_path) == ["config.json", "model.safetensors", "pytorch_model.bin.d/a.pth"]
    # A folder that is no step, for all its name.
    factory.save_tiny(tmp_path / "steps" / "3")
    write(tmp_path, "steps/10/b.pth", "nets.onnx/c.onnx", "nets.p/d.p", "one/config.json")
    write(tmp_path, "one/w-00001-of-00001.safetensors", "one/e.pth")
    assert {"steps", "steps/10/b.pth", "nets.onnx/c.onnx", "nets.p/d.p", "one/e.pth"} <= set(ids(tmp_path))
    assert checkpoints.load(tmp_path / "steps").num_classes == 5


def test_linked_checkpoints_are_entries_and_other_linked_folders_are_named(tmp_path: Path) -> None:
    zoo, store = tmp_path / "zoo", tmp_path / "store"
    factory.save_tiny(store / "net")
    write(store, "more/a.pth")
    write(zoo, "b.pth")
    for name in ("net", "more"):
        (zoo / name).symlink_to(store / name)
    (zoo / "circle").symlink_to(tmp_path)
    assert ids(zoo) == ["b.pth", "net"]
    assert unsearched(str(zoo)) == [zoo / "circle", zoo / "more"]
    assert unsearched(str(zoo / "b.pth")) == unsearched(f"{zoo}/*") == []


def test_folders_in_each_other_deeper_than_calls_go(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 100
    deepest = tmp_path / "zoo"
    deepest.mkdir()
    for _ in range(depth):
        deepest /= "a"
        deepest.mkdir()
    try:
        write(deepest, "x.pth")
        (deepest / "away").symlink_to(tmp_path)
        assert ids(tmp_path / "zoo") == ["a/" * depth + "x.pth"]
        assert unsearched(str(tmp_path / "zoo")) == [deepest / "away"]
    finally:
        # What removes a test's folder calls itself for each.
        for path in deepest.iterdir():
            path.unlink()
        while deepest != tmp_path:
            deepest.rmdir()
            deepest = deepest.parent

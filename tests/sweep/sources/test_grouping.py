"""Which files of a listing are one checkpoint, and which are none."""

import pytest

from xray_jax.sweep.sources.grouping import groups
from xray_jax.sweep.sources.remote import RemoteFile


def names(*files: str) -> dict[str, tuple[str, ...]]:
    """Name of each checkpoint -> its files; "!" behind it where it has a problem."""
    found = groups([RemoteFile(name, name) for name in files])
    assert all(file.key.endswith(file.name) for group in found for file in group.files)
    return {
        group.name + ("!" if group.problem else ""): tuple(sorted(file.name for file in group.files)) for group in found
    }


def test_files_of_known_names_only() -> None:
    found = names("a.pth", "b/c.onnx", "README.md", "x.py", ".hidden.pth", "b/.git/x.pth", "config.json")
    assert found == {"a.pth": ("a.pth",), "b/c.onnx": ("c.onnx",)}


def test_an_orbax_folder_is_one_checkpoint() -> None:
    inside = ("_METADATA", "d/abc", "ocdbt.process_0/manifest.ocdbt")
    assert names(*(f"net/{name}" for name in inside), "other.pth") == {"net": inside, "other.pth": ("other.pth",)}
    assert names("net/3/default/_METADATA", "net/3/default/d/x") == {"net": ("3/default/_METADATA", "3/default/d/x")}
    assert names("_METADATA", "d/x") == {"": ("_METADATA", "d/x")}


@pytest.mark.parametrize("folder", ["", "models/one/"])
def test_a_hugging_face_folder_prefers_safetensors(folder: str) -> None:
    files = ("config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "README.md", "extra.onnx")
    assert names(*(folder + name for name in files)) == {
        folder.rstrip("/"): ("config.json", "model.safetensors"),
        f"{folder}extra.onnx": ("extra.onnx",),
    }


def test_a_hugging_face_folder_without_safetensors_is_its_torch_file() -> None:
    assert names("config.json", "pytorch_model.bin") == {"": ("config.json", "pytorch_model.bin")}


def test_safetensors_in_shards_are_one_checkpoint() -> None:
    shards = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert names("config.json", "model.safetensors.index.json", *shards) == {
        "": ("config.json", *shards, "model.safetensors.index.json")
    }
    other = ("net-00001-of-00002.safetensors", "net-00002-of-00002.safetensors")
    assert names(*(f"x/{name}" for name in (*other, "net.safetensors.index.json"))) == {
        "x/net.safetensors": (*other, "net.safetensors.index.json")
    }


def test_shards_that_no_reader_puts_together_are_a_problem() -> None:
    shards = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    assert names("config.json", "pytorch_model.bin.index.json", *shards) == {"pytorch_model.bin!": shards}
    assert names("net-1-of-2.safetensors") == {"net.safetensors!": ("net-1-of-2.safetensors",)}

"""Which files of a listing are one checkpoint, and which are none."""

from typing import Any

import pytest

from xray_jax.sweep.checkpoint_list import collect
from xray_jax.sweep.sources import grouping
from xray_jax.sweep.sources.address import Address
from xray_jax.sweep.sources.grouping import groups
from xray_jax.sweep.sources.listing import Sources
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
    more = ("a.pickle", "b.p", "c.mpk", "d.stablehlo", "e.jax", "f.PKL")
    assert set(names(*more)) == set(more)


def test_an_orbax_folder_is_one_checkpoint() -> None:
    inside = ("_METADATA", "d/abc", "ocdbt.process_0/manifest.ocdbt")
    assert names(*(f"net/{name}" for name in inside), "other.pth") == {"net": inside, "other.pth": ("other.pth",)}
    assert names("net/3/default/_METADATA", "net/3/default/d/x") == {"net": ("3/default/_METADATA", "3/default/d/x")}
    assert names("_METADATA", "d/x") == {"": ("_METADATA", "d/x")}


def test_a_tree_of_orbax_hides_nothing() -> None:
    tree = ("model/_METADATA", "model/d/x")
    assert names(*tree, "a.pth", "model/b.pth", "sub/c.onnx", "README.md") == {
        "": tree, "a.pth": ("a.pth",), "model/b.pth": ("b.pth",), "sub/c.onnx": ("c.onnx",)
    }  # fmt: skip
    assert names("_METADATA", "d/x", "model/_METADATA", "net/_METADATA") == {
        "": ("_METADATA", "d/x"), "model": ("_METADATA",), "net": ("_METADATA",)
    }  # fmt: skip


def test_a_step_of_orbax_keeps_what_describes_it() -> None:
    step = ("3/_CHECKPOINT_METADATA", "3/default/_METADATA")
    assert names(*(f"net/{name}" for name in (*step, "3/metrics/metrics"))) == {"net": step}
    outer = ("net/_METADATA", "net/x/_CHECKPOINT_METADATA", "net/x/default/_METADATA")
    assert names(*outer) == {"net": ("_METADATA",), "net/x": ("_CHECKPOINT_METADATA", "default/_METADATA")}


@pytest.mark.parametrize("folder", ["", "models/one/"])
def test_a_hugging_face_folder_prefers_safetensors(folder: str) -> None:
    files = (
        "config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "README.md", "extra.onnx",
        "flax_model-00001-of-00002.msgpack", "flax_model-00002-of-00002.msgpack", "flax_model.msgpack.index.json",
    )  # fmt: skip
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


def test_shards_of_another_format_do_not_take_the_index() -> None:
    torch, safe = ("net-1-of-1.pt",), ("net-1-of-1.safetensors", "net.safetensors.index.json")
    assert names(*torch, *safe) == {"net.pt!": torch, "net.safetensors": safe}


def test_a_listing_costs_as_much_a_folder_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in looks at a name's folder."""
    folder, counts = grouping._folder, []

    def counted(name: str) -> str:
        counts[-1] += 1
        return folder(name)

    monkeypatch.setattr(grouping, "_folder", counted)
    inside = ("config.json", "model.safetensors", "pytorch_model.bin", "x.pt", "n-1-of-2.pt", "n-2-of-2.pt")
    for size in (50, 100):
        counts.append(0)
        apart = [f"{number}/{name}" for number in range(size) for name in inside]
        together = [f"all/{number}-{part}-of-2.safetensors" for number in range(size) for part in (1, 2)]
        assert len(names(*apart, *together)) == 4 * size
    assert counts[1] <= 2 * counts[0]


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_shards_beside_the_same_weights_in_one_file_have_a_name_of_their_own(suffix: str) -> None:
    shards = (f"x-00001-of-00002.{suffix}", f"x-00002-of-00002.{suffix}")
    assert names(f"a/x.{suffix}", *(f"a/{name}" for name in shards)) == {
        f"a/x.{suffix}": (f"x.{suffix}",),
        f"a/{shards[0]}!": shards,
    }


def test_every_checkpoint_of_a_listing_has_an_id_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects may be called like the folders of others, and unusable names may begin alike."""
    long = "../" + "x" * 200
    folders = [f"{folder}/model.safetensors" for folder in ("x.pt", "x.pt (2)")]
    listed = ["x.pt", *folders, "good.pth", f"{long}a", f"{long}b"]

    class Bucket:
        def listing(self, address: Address) -> tuple[list[RemoteFile], None]:
            return [RemoteFile(f"zoo/{name}", name) for name in listed], None

    def make(sources: Sources, scheme: str) -> Any:
        return Bucket()

    monkeypatch.setattr(Sources, "_make", make)
    found = [entry.id for entry in collect("s3://bucket/zoo")]
    assert sorted(found) == sorted(["good.pth", "x.pt", "x.pt (2)", "x.pt (3)", long[:200], f"{long[:200]} (2)"])

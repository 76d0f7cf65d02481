"""A corpus of hostile checkpoints: nothing runs, nothing grows beyond bounds, and each is one clear error."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests import factory
from xray_jax import checkpoints
from xray_jax.checkpoints import CheckpointError, formats
from xray_jax.checkpoints.torch import pickles

MAGIC = 0x1950A86A20F9469CFC6C


@pytest.fixture
def canary(tmp_path):
    """A file that every payload below would create."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "code from a checkpoint ran"


class Payload:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def payloads(canary: Path):
    import torch

    touch = f"touch '{canary}'"
    code = f"open({str(canary)!r}, 'w').close()"
    chain = Payload(getattr, Payload(__import__, "os"), "system")
    opened = Payload(open, str(canary), "w")
    return {
        "os.system": Payload(os.system, touch),
        "os.popen": Payload(os.popen, touch),
        "exec": Payload(exec, code),
        "eval": Payload(eval, code),
        "open": opened,
        "import": Payload(__import__, "antigravity"),
        "getattr chain": Payload(getattr, chain, "__call__"),
        "subprocess": Payload(subprocess.Popen, ["touch", str(canary)]),
        "torch.load": Payload(torch.load, str(canary)),
        "runpy": Payload(__import__("runpy").run_path, str(canary)),
        "nested": {"state_dict": {"a": [({"b": Payload(list, (opened,))},)]}},
        "beside weights": {"state_dict": {"w": torch.ones(2, 2)}, "extra": Payload(os.system, touch)},
        "as a key": {Payload(str, Payload(os.system, touch)): 1},
    }


NAMES = tuple(payloads(Path("x")))


def as_zip(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3")
    return stream.getvalue()


def as_legacy(data: bytes) -> bytes:
    first = [pickle.dumps(value, 2) for value in (MAGIC, 1001, {"little_endian": True})]
    return b"".join((*first, data, pickle.dumps([], 2)))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", NAMES)
def test_calls_are_refused_and_nothing_runs(name, protocol, canary, tmp_path):
    class Pickler(pickle._Pickler):
        """Tensors as references, as torch has it."""

        def persistent_id(self, item):
            return "('storage',)" if type(item).__name__ == "UntypedStorage" else None

    stream = io.BytesIO()
    Pickler(stream, protocol).dump(payloads(canary)[name])
    for kind, data in (
        ("a.pkl", stream.getvalue()),
        ("a.pt", as_zip(stream.getvalue())),
        ("b.pt", as_legacy(stream.getvalue())),
    ):
        (tmp_path / kind).write_bytes(data)
        with pytest.raises(CheckpointError, match="nothing was run"):
            checkpoints.load(tmp_path / kind)
    assert pickles.read(stream, 0, len(stream.getvalue())).end == len(stream.getvalue())


HAND_MADE = {
    "inst": b"(S'touch canary'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'touch canary'\no.",
    "newobj": b"\x80\x02cos\nsystem\nU\x0ctouch canary\x85\x81.",
    "newobj_ex": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch canary\x85}\x92.",
    "build": b"\x80\x02cbuiltins\ndict\n)R}U\x08__dict__cos\nsystem\nsb.",
    "stack global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch canary\x85R.",
    "global through the memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x930h\x00h\x01\x93\x8c\x01x\x85R.",
    "setitem on a call": b"\x80\x02cos\nsystem\n(U\x01xtR(K\x01K\x02u.",
    "nested stream": b"\x80\x04\x8c\x07_pickle\x8c\x05loads\x93C\x03\x80\x04N\x85R.",
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_hand_made_streams(name, tmp_path, canary, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pkl").write_bytes(HAND_MADE[name])
    with pytest.raises(CheckpointError, match="nothing was run"):
        checkpoints.load(tmp_path / "a.pkl")


MEASURE = textwrap.dedent(
    """
    import resource, sys
    from xray_jax.checkpoints import formats, CheckpointError
    from xray_jax.checkpoints.torch import pickle_machine
    # A tenth of the real limit, to be reached in a tenth of the time.
    pickle_machine.OBJECT_BYTES //= 10
    import numpy as np, tensorstore, scipy.ndimage
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in sys.argv[1:]:
        try:
            for array in formats.read(path).arrays.values():
                np.asarray(array)
            print(path, "opened")
        except CheckpointError as error:
            print(path, "error:", str(error)[:200])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
)


def bombs(folder: Path):
    """Small files that would become gigabytes."""
    count = 300_000
    streams = {
        "lists": b"]" * count,
        "dicts": b"}" * count,
        "marks": b"(" * count,
        "tuples": b")" + b"\x85" * count,
        "calls": b"c__main__\nx\n" + b")R" * count,
        "references": b"c__main__\nx\n" + b"Q" * count,
        "memo": b"N" + b"".join(b"r" + struct.pack("<I", k * 999) for k in range(count // 3)),
        "memo index": b"Nr\xff\xff\xff\xff.",
        "duplicates": b"]" + b"2" * count,
        "names": b"".join(b"cm%d\nx\n" % k for k in range(count // 4)),
        # Each level holds the one below it ten times: 10^30 items when walked.
        "billion laughs": b"(lp0\n0"
        + b"".join(b"(" + b"g%d\n" % k * 10 + b"lp%d\n0" % (k + 1) for k in range(30))
        + b"g30\n.",
        "long integer": b"\x8b\xff\xff\xff\x7f",
        "long string": b"X\xff\xff\xff\xff",
        "long string 8": b"\x8d" + b"\xff" * 8,
        "frame": b"\x95" + b"\xff" * 8 + b".",
        "bytearray": b"\x96" + b"\xff" * 8 + b".",
    }
    for name, stream in streams.items():
        yield f"{name}.pkl", b"\x80\x04" + stream
        yield f"{name}.pt", as_zip(b"\x80\x02" + stream)
    yield "lists.msgpack", b"\x81\xa6params\xdd" + struct.pack(">I", count) + b"\x90" * count
    yield "long list.msgpack", b"\x81\xa6params\xdd\xff\xff\xff\xff"
    yield "long bytes.msgpack", b"\x81\xa6params\xc9\x7f\xff\xff\xff\x01"
    yield "deep.msgpack", b"\x81\xa6params" * 100_000
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    yield "huge.safetensors", struct.pack("<Q", len(header)) + header
    yield "header.safetensors", struct.pack("<Q", 20 << 20) + b"{" + b"[" * (20 << 20)
    many = b'{"a":' + b"[" * (4 << 20)
    yield "deep.safetensors", struct.pack("<Q", len(many)) + many
    zeros = bytes(400 << 20)
    for name, method in (("zeros.npz", 8), ("zeros.pt", 8)):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            archive.writestr("archive/data.pkl" if name.endswith("pt") else "a.npy", zeros)
        yield name, stream.getvalue()
        # The same, but the directory lies about the size.
        data = stream.getvalue().replace(struct.pack("<L", 400 << 20), struct.pack("<L", 1 << 20))
        yield f"lying {name}", data


def test_bombs_are_refused_within_memory(tmp_path):
    paths = []
    for name, data in bombs(tmp_path):
        (tmp_path / name).write_bytes(data)
        paths.append(str(tmp_path / name))
    found = subprocess.run([sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, timeout=500)
    *lines, grown = found.stdout.splitlines()
    assert found.returncode == 0, found.stderr[-2000:]
    assert [line for line in lines if " error: " not in line] == []
    assert len(lines) == len(paths)
    largest = max(Path(path).stat().st_size for path in paths)
    assert int(grown) << 10 <= largest + (256 << 20) // 4


def test_orbax_bombs_are_refused_within_memory(tmp_path):
    import tensorstore

    path = tmp_path / "nodes"
    store = tensorstore.KvStore.open(
        {
            "driver": "ocdbt",
            "base": {"driver": "file", "path": f"{path}/"},
            "config": {"max_inline_value_bytes": 1 << 20, "max_decoded_node_bytes": (1 << 31) - 1},
        }
    ).result()
    transaction = tensorstore.Transaction()
    for k in range(300):
        store.with_transaction(transaction).write(f"params.w/{k:05d}", bytes((1 << 20) - 1))
    transaction.commit_async().result()
    entry = {"key_metadata": [{"key": "params"}, {"key": "w"}], "value_metadata": {"value_type": "np.ndarray"}}
    (path / "_METADATA").write_text(json.dumps({"tree_metadata": {"x": entry}}))
    checkpoints.save_orbax(tmp_path / "zeros", {"params": {"w": np.zeros(1 << 27, np.float16)}}, {})
    paths = [str(path), str(tmp_path / "zeros")]
    found = subprocess.run([sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, timeout=300)
    *lines, grown = found.stdout.splitlines()
    assert len(lines) == 2
    assert all("error: " in line and "refused" in line for line in lines), lines
    assert int(grown) << 10 <= (256 << 20)


def test_a_huge_directory_of_nothing_is_refused(tmp_path):
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    directory = entry * 400_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), 30, 0)
    (tmp_path / "a.pt").write_bytes(b"PK\x03\x04" + bytes(26) + directory + end)
    with pytest.raises(CheckpointError, match=r"directory has .* more than"):
        checkpoints.load(tmp_path / "a.pt")


def test_overlapping_members_are_refused(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/data/0", bytes(8))
    data = bytearray(stream.getvalue())
    second = data.rindex(b"PK\x01\x02")
    first = data.index(b"PK\x01\x02")
    # The second entry now points at the first member, name and all.
    data[second : second + 46 + 8] = data[first : first + 46 + 8]
    (tmp_path / "a.pt").write_bytes(data)
    with pytest.raises(CheckpointError):
        checkpoints.load(tmp_path / "a.pt")


@pytest.mark.parametrize("key", ["../../../etc/passwd", "/etc/passwd", "..\\x", "0/../0", ""])
def test_storage_names_do_not_leave_the_archive(key, tmp_path):
    import torch

    torch.save({"a": torch.ones(4)}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as old:
        data = old.read("good/data.pkl").replace(b"X\x01\0\0\x000", b"X" + struct.pack("<I", len(key)) + key.encode())
    (tmp_path / "a.pt").write_bytes(as_zip(data))
    with pytest.raises(CheckpointError, match="no storage"):
        checkpoints.load(tmp_path / "a.pt")


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", ""])
def test_shard_names_do_not_leave_the_folder(shard, tmp_path):
    (tmp_path / "x.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match="not a plain file name"):
        checkpoints.load(tmp_path / "x.safetensors.index.json")


def test_links_and_pipes(tmp_path):
    good = factory.save_tiny(tmp_path / "good")
    (tmp_path / "good" / "more").symlink_to("/etc")
    with pytest.raises(CheckpointError, match="symbolic link"):
        checkpoints.load(good)
    (tmp_path / "dangling.pt").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    for name, message in (("dangling.pt", "cannot be read"), ("loop.pt", "cannot be read"), ("pipe.pt", "neither")):
        for function in (checkpoints.load, checkpoints.sha256):
            with pytest.raises(CheckpointError, match=message):
                function(tmp_path / name)
    # A link to a good file is that file.
    file = factory.save_tiny(tmp_path / "good.safetensors")
    (tmp_path / "link.safetensors").symlink_to(file)
    assert checkpoints.load(tmp_path / "link.safetensors").num_classes == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\0", "known format"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "HTML page"),
        (b"\x1f\x8b\x08", "unpack it first"),
        (bytes(257) + b"ustar" + bytes(250), "tar archive"),
        (b"PK\x03\x04", "without its end"),
        (b"\x07" + np.random.default_rng(0).bytes(2000), "known format"),
    ],
    ids=["empty", "zero", "LFS", "HTML", "gzip", "tar", "half a zip", "noise"],
)
def test_files_that_are_no_checkpoints(content, message, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as raised:
        checkpoints.load(tmp_path / "a.pth")
    assert str(tmp_path / "a.pth") in str(raised.value)


def test_npz_with_pickled_objects_is_refused(tmp_path, canary):
    np.savez(tmp_path / "a.npz", a=np.array([Payload(os.system, f"touch '{canary}'")], dtype=object))
    with pytest.raises(CheckpointError, match="pickled objects"):
        checkpoints.load(tmp_path / "a.npz")


def test_formats_name_themselves():
    names = [reader.NAME for reader in formats.known()]
    assert len(set(names)) == len(names)

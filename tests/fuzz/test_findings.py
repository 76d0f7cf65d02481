"""Files that a reader once did not stand: each is refused with a clear error, within bounds of time and memory.

A search found some of them, reading the readers with a search in mind the others.
"""

import io
import json
import re
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from tests.fuzz import bundle
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import Watch
from tests.oracles import published

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bounds are watched through Linux's /proc")


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    return Watch(tmp_path_factory.mktemp("inputs"))


def laughs() -> bytes:
    """Opcodes that leave a list on the stack which is 10^30 items long when it is walked or printed."""
    levels = (b"(" + b"g%d\n" % k * 10 + b"lp%d\n0" % (k + 1) for k in range(900, 930))
    return b"(lp900\n0" + b"".join(levels) + b"g930\n"


def shared(container: bytes, set_items: bytes, key: bytes, keys: int, levels: int) -> bytes:
    """Opcodes of containers that hold the one before them under many keys."""
    parts = (
        container + b"(" + b"".join(key % number + b"h" + bytes((level,)) for number in range(keys)) + set_items
        + b"q" + bytes((level + 1,)) + b"0"
        for level in range(levels)
    )  # fmt: skip
    return b"}q\x000" + b"".join(parts) + b"h" + bytes((levels,))


def torch_file(pickle: bytes, *more: tuple[str, bytes]) -> bytes:
    return bundle.join(
        [("a/data.pkl", b"\x80\x02" + pickle + b"."), ("a/data/0", bytes(16)), ("a/version", b"3"), *more]
    )


def tensor(key: bytes = b"U\x010", sizes: bytes = b"K\x02", view: bytes = b"") -> bytes:
    """Opcodes of {"w": a tensor of one dimension}."""
    storage = b"(U\x07storagectorch\nFloatStorage\n" + key + b"U\x03cpuK\x04" + view + b"tQ"
    return b"}U\x01wctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00(" + sizes + b"t(K\x01ttRs"


MODULE = b"c__torch__\nM\n)\x81"
PROGRAM = ("a/constants.pkl", b"\x80\x02).")

PICKLES = {
    "calls a list that holds itself": (laughs() + b")R", "whole pickled object"),
    "calls a reference to such a list": (laughs() + b"Q)R", "whole pickled object"),
    "a dictionary of such a call": (b"}U\x01a" + laughs() + b")Rs", "no tensors"),
    "dictionaries that share what they hold": (shared(b"}", b"u", b"U\x02%02x", 200, 6), "no tensors"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles(name, watch, tmp_path):
    stream, message = PICKLES[name]
    refused("pickle", b"\x80\x02" + stream + b".", message, watch, tmp_path)


TORCH_FILES = {
    "a size that is a list that holds itself": (torch_file(tensor(sizes=laughs())), "expected a size, got 'a list'"),
    "a storage called by such a list": (torch_file(tensor(key=laughs())), "key is no string"),
    "a storage whose view is a number": (torch_file(tensor(view=b"K\x01")), "view is not what torch writes"),
    "modules that share what they hold": (
        torch_file(shared(MODULE + b"}", b"ub", b"U\x02%02x", 9, 30), PROGRAM),
        "more than 200000 values",
    ),
    "a module's value called by such a list": (
        torch_file(MODULE + b"}" + laughs() + MODULE + b"sb", PROGRAM),
        "called a list",
    ),
}


@pytest.mark.parametrize("name", TORCH_FILES)
def test_torch_files(name, watch, tmp_path):
    refused("torch", *TORCH_FILES[name], watch, tmp_path)


def keras_file(config: object) -> bytes:
    files = (("metadata.json", {"keras_version": "3.0"}), ("config.json", config), ("model.weights.h5", None))
    return bundle.join((name, json.dumps(content).encode()) for name, content in files)


def called_twice(depth: int) -> dict[str, object]:
    """A model that calls a model twice, which calls a model twice."""
    inner = {"class_name": "Dropout", "config": {"rate": 0.5}} if not depth else called_twice(depth - 1)
    calls = [[["in", 0, 0, {}]], [["m", 0, 0, {}]]]
    layers = [
        {"class_name": "InputLayer", "name": "in", "config": {"batch_shape": [None, 4, 4, 1]}, "inbound_nodes": []},
        {**inner, "name": "m", "inbound_nodes": calls},
    ]
    ends = {"input_layers": [["in", 0, 0]], "output_layers": [["m", 1, 0]]}
    return {"class_name": "Functional", "config": {"layers": layers, **ends}}


def sequential(layer: object) -> bytes:
    return keras_file({"class_name": "Sequential", "config": [layer]})


def functional(call: object) -> bytes:
    entry = {"class_name": "InputLayer", "name": "in", "config": {"batch_shape": [None, 4, 4, 1]}}
    layer = {"class_name": "ReLU", "name": "out", "config": {}, "inbound_nodes": [call]}
    ends = {"input_layers": [["in", 0, 0]], "output_layers": [["out", 0, 0]]}
    return keras_file({"class_name": "Functional", "config": {"layers": [entry, layer], **ends}})


KERAS_FILES = {
    "options of a call that are a number": (functional([["in", 0, 0, 7]]), "not what Keras writes"),
    "a tensor whose config is a list": (
        functional({"args": [{"class_name": "__keras_tensor__", "config": []}]}),
        "not what Keras writes",
    ),
    "models that call models twice": (keras_file(called_twice(40)), "called more than 40000 times"),
    "calls that are a number": (
        sequential({"class_name": "ReLU", "config": {}, "inbound_nodes": 3}),
        "inbound_nodes are no list",
    ),
}


@pytest.mark.parametrize("name", KERAS_FILES)
def test_keras_files(name, watch, tmp_path):
    refused("keras", *KERAS_FILES[name], watch, tmp_path)


def hdf5(write: Callable[[Any], object]) -> bytearray:
    stream = io.BytesIO()
    with pytest.importorskip("h5py").File(stream, "w") as file:
        write(file)
    return bytearray(stream.getvalue())


def in_itself() -> bytes:
    """A file whose only group is its root."""
    data = hdf5(lambda file: file.create_group("g"))
    root = struct.unpack_from("<6Q", data, 24)[5]
    struct.pack_into("<Q", data, data.index(b"SNOD") + 16, root)
    return bytes(data)


def upon_each_other() -> bytes:
    """Six hundred norms whose arrays are the same megabyte: a copy of each is too much."""
    size = 1 << 20

    def write(file: Any) -> None:
        file["first"] = np.ones(size // 4, "f4")
        for layer in range(600):
            for role in ("gamma", "beta", "moving_mean", "moving_variance"):
                # Nothing is written, so none has a place yet.
                file.create_dataset(f"{layer}/{role}", (size // 4,), "f4")
        places.append(file["first"].id.get_offset())

    places: list[int] = []
    data = bytes(hdf5(write))
    return data.replace(struct.pack("<qQ", -1, size), struct.pack("<QQ", places[0], size))


H5_FILES = {
    "a group in itself": (in_itself, "more than 64 deep"),
    "a long name": (lambda: bytes(hdf5(lambda file: file.create_group("x" * 2000))), "no end within 1024 bytes"),
    "arrays upon each other": (upon_each_other, "unpack to"),
}


@pytest.mark.parametrize("name", H5_FILES)
def test_h5_files(name, watch, tmp_path):
    make, message = H5_FILES[name]
    refused("h5", make(), message, watch, tmp_path)


def nested(depth: int) -> bytes:
    """An array whose shape is an array whose shape is an array."""
    body = b""
    for _ in range(depth):
        body = b"\xc9" + struct.pack(">I", len(body) + 1) + b"\x01\x93" + body
    return b"\x81\xa6params" + body


def test_a_msgpack_array_in_an_array(watch, tmp_path):
    refused("msgpack", nested(2000), "more than 64 levels", watch, tmp_path)


def msgpack(leaf: bytes) -> bytes:
    return b"\x81\xa6params" + leaf


def test_a_msgpack_array_whose_length_is_true(watch, tmp_path):
    triple = b"\x93\x91\xc3\xa7float32\xc4\x04" + bytes(4)
    refused("msgpack", msgpack(b"\xc7" + bytes((len(triple), 1)) + triple), "an array of shape", watch, tmp_path)


CHUNKED = b"\x83\xb9__msgpack_chunked_array__\xc3"


@pytest.mark.parametrize("chunks", [b"\x80", b"\x81\xa10\x01", b"\x81\xa11\x90"])
@pytest.mark.parametrize("shape", [b"\x80", b"\x81\xa10\xc3", b"\x81\xa11\x01"])
def test_msgpack_chunks_that_are_none(chunks, shape, watch, tmp_path):
    leaf = CHUNKED + b"\xa6chunks" + chunks + b"\xa5shape" + shape
    refused("msgpack", msgpack(leaf), "chunks are no flat arrays", watch, tmp_path)


@pytest.mark.parametrize(
    "config", [{"id2label": 3}, {"label_names": "abc"}, {"architectures": {"a": 1}}, {"image_size": True}]
)
def test_a_hub_config_of_other_types(config, watch, tmp_path):
    weights = pytest.importorskip("safetensors.numpy").save({"w": np.ones(2, np.float32)})
    files = [("model.safetensors", weights), ("config.json", json.dumps(config).encode())]
    assert watch.examine(TARGETS["hub"], bundle.join(files))


def test_a_name_of_a_megabyte(watch, tmp_path):
    header = json.dumps({"a" * (1 << 20): {}}).encode()
    refused("safetensors", struct.pack("<Q", len(header)) + header, "leaf a{3000}", watch, tmp_path)


def test_a_file_of_one_byte(watch, tmp_path):
    refused("pickle", b"\x08", "no pickle opcode", watch, tmp_path)


def orbax(index: object) -> bytes:
    return bundle.join([("_METADATA", json.dumps(index).encode())])


LEAF = {"key_metadata": [{"key": "a"}], "value_metadata": {"value_type": "np.ndarray"}}
ORBAX = {
    "no tree": (orbax({}), "not what orbax writes"),
    "a tree that is a list": (orbax({"tree_metadata": [1]}), "not what orbax writes"),
    "a leaf without keys": (orbax({"tree_metadata": {"a": {**LEAF, "key_metadata": []}}}), "without a name"),
    "a key that is a number": (orbax({"tree_metadata": {"a": {**LEAF, "key_metadata": [1]}}}), "not what orbax writes"),
    "a leaf without a kind": (orbax({"tree_metadata": {"a": {**LEAF, "value_metadata": {}}}}), "not what orbax writes"),
}


@pytest.mark.parametrize("name", ORBAX)
def test_orbax_folders(name, watch, tmp_path):
    refused("orbax", *ORBAX[name], watch, tmp_path)


ONNX_NODES = {
    "more outputs than the operator has": onnx.helper.make_node("Relu", ["x"], ["aside", "y"]),
    "no first input": onnx.helper.make_node("Not", [""], ["y"]),
}


@pytest.mark.parametrize("name", ONNX_NODES)
def test_onnx_nodes(name, watch, tmp_path):
    node = ONNX_NODES[name]
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["N", 8]) for name in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:]))
    refused("onnx", model.SerializeToString(), "onnxruntime does not open it", watch, tmp_path)


MANIFESTS = {
    "a number of many digits": (b'{"path": "a", "target": ' + b"1" * 5000 + b"}", "line 1: no valid JSON"),
    "lists in lists": (b'{"path": ' + b"[" * 30_000, "line 1: no valid JSON"),
    "nobody's home": (b'{"path": "~nobody-of-this-name/a"}', "line 1: Could not determine home"),
    "half an address": (b'{"path": "s3://[a/b"}', "line 1: .* not an address"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests(name, watch, tmp_path):
    refused("manifest", *MANIFESTS[name], watch, tmp_path)


@pytest.mark.parametrize("network", ["swin", "swin_v2", "beit", "maxvit"])
def test_windows_whose_pairs_of_patches_are_too_many(network, watch, tmp_path):
    """Ten thousand patches: a table of a megabyte, and eight hundred for their pairs."""
    shapes = published.read(network)["shapes"]
    far = {2: [199**2, 2], 4: [1, 199, 199, 2]}
    tables = {key: far[len(shape)] for key, shape in shapes.items() if re.search("bias_table|coords_table", key)}
    watch.warm(TARGETS["recognition"], [json.dumps({"arrays": shapes, "metadata": {}}).encode()])
    data = json.dumps({"arrays": {**shapes, **tables}, "metadata": {}}).encode()
    refused("recognition", data, "no known architecture has these", watch, tmp_path)


def test_samples_of_which_little_is_there(watch, tmp_path):
    stream = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (1 << 29, 4, 4, 3)}
    np.lib.format.write_array_header_1_0(stream, header)
    files = [("images.npy", stream.getvalue()), ("labels.npy", b"")]
    refused("samples", bundle.join(files), "images say that they are .* damaged", watch, tmp_path)


def test_an_image_of_eighty_million_pixels(watch, tmp_path):
    data = bundle.join([("0/a.ppm", b"P4\n1\n80000000\n")])
    refused("images", data, "1 x 80000000 pixels, more than 16777216", watch, tmp_path)


def refused(reader: str, data: bytes, message: str, watch: Watch, folder) -> None:
    target = TARGETS[reader]
    assert not watch.examine(target, data)
    with pytest.raises(target.error, match=message):
        target.read(target.place(data, folder))

"""What is refused of an ONNX file before onnxruntime sees it."""

import resource
import subprocess
import sys

import pytest

from tests.checkpoints.programs.test_onnx import build, external, helper, onnx, saved
from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.loading import load
from xray_jax.checkpoints.programs import onnx_model

GRAPH, NODE, OP_TYPE, INITIALIZER, ATTRIBUTE, DIMS = 7, 1, 4, 5, 5, 1


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, body):
    """One length-delimited field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def written(path, data):
    path.write_bytes(data)
    return path


def test_a_large_model_opens(tmp_path):
    model = build()
    model.graph.initializer.append(onnx.numpy_helper.from_array(onnx.numpy_helper.np.zeros(1 << 20), "unused"))
    path = saved(tmp_path / "m.onnx", model)
    assert path.stat().st_size > onnx_model.SMALL_BYTES
    assert load(path).num_classes == 5
    whole = path.read_bytes()
    with pytest.raises(CheckpointError, match="damaged or truncated ONNX"):
        load(written(tmp_path / "t.onnx", whole[: len(whole) - 100]))


MEMORY = 5 << 19
"""Bytes of a file of nothing but the smallest messages: not small, and a quarter of a gigabyte when parsed."""
BOMBS = {
    "nodes": field(NODE, b"") * (MEMORY // 2),
    "tensors": field(INITIALIZER, b"") * (MEMORY // 2),
    "attributes": field(NODE, field(ATTRIBUTE, b"") * (MEMORY // 2)),
    "small": field(NODE, b"") * (onnx_model.MAX_MESSAGES + 1),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_does_not_become_large(name, tmp_path, monkeypatch):
    # So that what the children may take is less than what they would need.
    monkeypatch.setattr(onnx_model, "SLACK", 16 << 20)
    path = written(tmp_path / "m.onnx", b"\x08\x08" + field(GRAPH, BOMBS[name]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"unpack to far more|more than 262144 nodes"):
        load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10


def test_deep_nesting_is_refused(tmp_path):
    graph = b""
    for _ in range(2000):
        graph = field(NODE, field(ATTRIBUTE, field(6, graph)))
    with pytest.raises(CheckpointError, match="damaged or truncated ONNX"):
        load(written(tmp_path / "m.onnx", b"\x08\x08" + field(GRAPH, graph)))


def test_what_protobuf_cannot_hold_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, "MAX_BYTES", 100)
    monkeypatch.setattr(Source, "read", None)
    with pytest.raises(CheckpointError, match="external data"):
        onnx_model.inspect(Source.of(saved(tmp_path / "m.onnx", build())))


def test_a_file_without_a_graph_is_damaged(tmp_path):
    with pytest.raises(CheckpointError, match="no graph"):
        load(written(tmp_path / "m.onnx", b"\x08\x08"))


def test_operators_are_found_in_every_part_of_the_file(tmp_path):
    model = build()
    model.training_info.add().algorithm.node.append(helper.make_node("Run", [], ["y"], domain="evil"))
    with pytest.raises(CheckpointError, match=r"evil\.Run"):
        load(saved(tmp_path / "m.onnx", model))


@pytest.mark.parametrize(("name", "opens"), [("Own", True), ("Other", False)])
def test_functions_of_the_file_itself_are_no_custom_operators(tmp_path, name, opens):
    model = build(domains=("own",))
    node = helper.make_node("Relu", ["x"], ["y"])
    model.functions.append(helper.make_function("own", "Own", ["x"], ["y"], [node], [helper.make_opsetid("", 17)]))
    relu = model.graph.node[1]
    relu.op_type, relu.domain = name, "own"
    path = saved(tmp_path / "m.onnx", model)
    if opens:
        assert load(path).num_classes == 5
    else:
        with pytest.raises(CheckpointError, match=r"own\.Other"):
            load(path)


def test_parts_that_the_schema_does_not_know_are_refused(tmp_path):
    hidden = field(GRAPH, field(NODE, field(200, field(NODE, field(OP_TYPE, b"Run")))))
    whole = saved(tmp_path / "m.onnx", build()).read_bytes()
    with pytest.raises(CheckpointError, match=r"does not know, in a NodeProto.*upgrade"):
        load(written(tmp_path / "u.onnx", whole + hidden))


def test_weights_at_an_address_are_refused(tmp_path):
    (tmp_path / "*" / "_ORT_MEM_ADDR_").mkdir(parents=True)
    (tmp_path / "*" / "_ORT_MEM_ADDR_" / "*").write_bytes(b"")
    with pytest.raises(CheckpointError, match="outside of its own folder: refused"):
        load(external(tmp_path / "m.onnx", "*/_ORT_MEM_ADDR_/*"))


def test_without_onnx_the_extra_is_named(tmp_path, monkeypatch):
    path = saved(tmp_path / "m.onnx", build())
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(CheckpointError, match=r"pip install 'xray-jax\[onnx\]'"):
        load(path)


def test_neither_library_is_imported_with_the_package():
    code = "import sys, xray_jax.scripts.scan; print(*{'onnx', 'onnxruntime'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

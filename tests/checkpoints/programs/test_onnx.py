"""ONNX models against a forward pass written in numpy, and against what onnxruntime says of the same file."""

import hashlib
import os
import shutil
import sys

import numpy as np
import pytest

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.formats import sha256
from xray_jax.checkpoints.loading import load
from xray_jax.checkpoints.programs import onnx as reader
from xray_jax.classifier import Access, BlackBox, Classifier
from xray_jax.inference.labels import label_images

onnx = pytest.importorskip("onnx", reason="onnx writes the files that are read here (extra `test`)")
pytest.importorskip("onnxruntime", reason="extra `onnx`")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(3, 4)).astype(np.float32)
HEAD = RNG.normal(size=(4, 5)).astype(np.float32)
IMAGES = RNG.uniform(size=(11, 8, 6, 3)).astype(np.float32)


def expected_labels(images):
    """1x1 convolution, ReLU, mean over the image, linear head."""
    return np.argmax(np.maximum(images @ MIX, 0).mean((1, 2)) @ HEAD, 1)


def tensor(name, value, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, value)


def build(batch="N", layout="NCHW", extra_nodes=(), outputs=None, domains=(), node_domain=""):
    """The network above as a ModelProto, in either layout."""
    shape = [batch, 3, 8, 6] if layout == "NCHW" else [batch, 8, 6, 3]
    nodes = [] if layout == "NCHW" else [helper.make_node("Transpose", ["images"], ["x"], perm=[0, 3, 1, 2])]
    start = "images" if layout == "NCHW" else "x"
    nodes += [
        helper.make_node("Conv", [start, "mix"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"], domain=node_domain),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "head"], ["logits"]),
        *extra_nodes,
    ]
    weights = [
        numpy_helper.from_array(np.ascontiguousarray(MIX.T)[:, :, None, None], "mix"),
        numpy_helper.from_array(HEAD, "head"),
    ]
    outputs = outputs or [tensor("logits", [batch, 5])]
    graph = helper.make_graph(nodes, "net", [tensor("images", shape)], outputs, weights)
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 9
    return model


def saved(path, model, **options):
    onnx.save(model, str(path), **options)
    return path


def outside(model):
    """The same with a last operator that is not in the table, and changes nothing."""
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Shrink", ["before"], ["logits"], lambd=0.0, bias=0.0))
    return model


@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_layout_and_batch_are_found(tmp_path, batch, layout):
    model = load(saved(tmp_path / "m.onnx", build(batch, layout)))
    assert isinstance(model, Classifier)
    assert (model.num_classes, model.input_shape, model.runtime) == (5, (8, 6, 3), "jax")
    assert (model.access, model.notes) == (Access.WEIGHTS, ())
    assert model.batch_size == (4 if batch == 4 else None)
    np.testing.assert_array_equal(label_images(model, IMAGES), expected_labels(IMAGES))


@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_what_the_table_lacks_is_run_by_onnxruntime(tmp_path, batch, layout):
    model = load(saved(tmp_path / "m.onnx", outside(build(batch, layout))))
    assert isinstance(model, BlackBox)
    assert (model.num_classes, model.input_shape, model.runtime) == (5, (8, 6, 3), "onnxruntime")
    assert model.notes[0] == "run by onnxruntime: the operator Shrink is not in the table"
    assert model.batch_size == (4 if batch == 4 else None)
    assert (model.notes[1:] == ("its batch dimension of 1 was made open",)) == (batch == 1)
    np.testing.assert_array_equal(model.label_fn(IMAGES), expected_labels(IMAGES))
    np.testing.assert_array_equal(label_images(model, IMAGES), expected_labels(IMAGES))


def test_a_program_that_onnxruntime_does_not_agree_with_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(reader.onnx_network, "compiled", lambda network: lambda variables, images: images[:, 0, :5, 0])
    model = load(saved(tmp_path / "m.onnx", build()))
    assert isinstance(model, BlackBox)
    assert model.notes[0].startswith("run by onnxruntime: as a JAX program its scores would be off by up to")


def test_a_file_without_its_suffix_is_recognised(tmp_path):
    shutil.copy(saved(tmp_path / "m.onnx", build()), tmp_path / "model.bin")
    assert load(tmp_path / "model.bin").num_classes == 5


def test_label_and_probabilities_as_scikit_learn_exports_them(tmp_path):
    nodes = [
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
        helper.make_node("ArgMax", ["logits"], ["index"], axis=1, keepdims=0),
    ]
    outputs = [tensor("index", ["N"], TensorProto.INT64), tensor("probabilities", ["N", 5])]
    model = load(saved(tmp_path / "m.onnx", build(extra_nodes=nodes, outputs=outputs)))
    np.testing.assert_array_equal(label_images(model, IMAGES), expected_labels(IMAGES))


def test_a_list_of_label_to_probability_maps(tmp_path):
    zipped = helper.make_node(
        "ZipMap", ["logits"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[10, 11, 12, 13, 14]
    )
    nodes = [helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0), zipped]
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    )
    outputs = [tensor("label", ["N"], TensorProto.INT64), helper.make_value_info("maps", maps)]
    model = load(saved(tmp_path / "m.onnx", build(extra_nodes=nodes, outputs=outputs, domains=("ai.onnx.ml",))))
    assert model.num_classes == 5
    np.testing.assert_array_equal(model.label_fn(IMAGES), expected_labels(IMAGES))


def test_ambiguous_or_useless_outputs_are_refused(tmp_path):
    two = [tensor("logits", ["N", 5]), tensor("f", ["N", 4])]
    assert load(saved(tmp_path / "named.onnx", build(outputs=two))).num_classes == 5
    twice = [helper.make_node("Neg", ["f"], ["aux"])]
    with pytest.raises(CheckpointError, match=r"its outputs are .*expected"):
        load(saved(tmp_path / "m.onnx", build(extra_nodes=twice, outputs=[tensor("aux", ["N", 4]), two[1]])))


def test_custom_operators_are_refused_wherever_they_are(tmp_path):
    with pytest.raises(CheckpointError, match=r"custom operators \(evil\.Relu\).*refused"):
        load(saved(tmp_path / "m.onnx", build(domains=("evil",), node_domain="evil")))
    branch = helper.make_graph([helper.make_node("Run", [], ["y"], domain="evil")], "b", [], [tensor("y", [1])])
    nested = helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)
    with pytest.raises(CheckpointError, match=r"evil\.Run"):
        load(saved(tmp_path / "n.onnx", build(extra_nodes=[nested])))
    context = [helper.make_node("EPContext", ["logits"], ["z"], domain="com.microsoft")]
    with pytest.raises(CheckpointError, match="EPContext"):
        load(saved(tmp_path / "e.onnx", build(extra_nodes=context, domains=("com.microsoft",))))


def external(path, location):
    """A model whose head is read from `location`."""
    model = build()
    head = model.graph.initializer[1]
    head.ClearField("raw_data")
    head.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(HEAD.nbytes)}.items():
        entry = head.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_beside_the_model_are_read(tmp_path):
    (tmp_path / "head.bin").write_bytes(HEAD.tobytes())
    model = load(external(tmp_path / "m.onnx", "head.bin"))
    assert isinstance(model, Classifier)
    np.testing.assert_array_equal(label_images(model, IMAGES), expected_labels(IMAGES))


def test_weights_beside_the_model_are_part_of_its_content(tmp_path):
    (tmp_path / "head.bin").write_bytes(HEAD.tobytes())
    path = external(tmp_path / "m.onnx", "head.bin")
    first = sha256(path)
    assert first != hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "head.bin").write_bytes((-HEAD).tobytes())
    assert sha256(path) != first
    # Of what is refused nothing else is opened; and a model alone is its own bytes.
    for other in (external(tmp_path / "n.onnx", "../head.bin"), saved(tmp_path / "alone.onnx", build())):
        assert sha256(other) == hashlib.sha256(other.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/passwd", "sub/../../secret.bin", "C:\\secret", "", "link.bin"]
)
def test_weights_outside_of_the_models_folder_are_refused(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(HEAD.tobytes())
    (tmp_path / "folder").mkdir()
    os.symlink("../secret.bin", tmp_path / "folder" / "link.bin")
    with pytest.raises(CheckpointError, match="outside of its own folder: refused"):
        load(external(tmp_path / "folder" / "m.onnx", location))


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"'gone\.bin', which is missing"):
        load(external(tmp_path / "m.onnx", "gone.bin"))


def test_open_image_sizes_and_integer_images_are_refused(tmp_path):
    model = build()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(CheckpointError, match="fixed height, width and channels"):
        load(saved(tmp_path / "m.onnx", model))
    model = build()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    model.graph.node.insert(0, helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT))
    model.graph.node[1].input[0] = "float"
    with pytest.raises(CheckpointError, match="floating-point images"):
        load(saved(tmp_path / "u.onnx", model))


@pytest.mark.parametrize("change", [lambda model: model, outside])
def test_a_batch_beyond_all_measure_is_refused(tmp_path, change):
    with pytest.raises(CheckpointError, match=r"takes 1000000000 images of \(8, 6, 3\) at once.*refused"):
        load(saved(tmp_path / "m.onnx", change(build(10**9))))


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    path = saved(tmp_path / "m.onnx", build())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CheckpointError, match=r"pip install 'xray-jax\[onnx\]'"):
        load(path)


def test_no_provider_that_sends_data_away(tmp_path, monkeypatch):
    import onnxruntime

    used = []
    start = onnxruntime.InferenceSession

    def record(*args, providers, **options):
        used.extend(providers)
        return start(*args, providers=providers, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", record)
    load(saved(tmp_path / "m.onnx", build()))
    assert set(used) == set(onnxruntime.get_available_providers()) - {"AzureExecutionProvider"}
    assert reader.NAME == "ONNX"

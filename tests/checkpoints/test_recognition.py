"""Networks are found from names and shapes alone; what does not fit is refused by name."""

import json
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pytest
import torch

from tests.places import SHARED
from xray_jax import preprocess
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.recognition import MAX_LEAVES, recognise
from xray_jax.models import build, expected_shapes

SHAPE = (8, 8, 3)


def _arrays(name: str, num_classes: int = 4, shape: tuple[int, int, int] = SHAPE) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = expected_shapes(build(name, num_classes), shape)
    return {key: random.normal(size=leaf).astype(np.float32) for key, leaf in shapes.items()}


SMALL = _arrays("preactresnet-small")


def _same(one: Mapping, other: Mapping) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "net.", "1.", "module.model.", "anything_at_all.", "a.b.c."]
)
def test_prefixes_are_removed_by_name(prefix: str) -> None:
    found = recognise(Tensors({prefix + key: array for key, array in SMALL.items()}))
    assert found.name == "preactresnet-small"
    _same(found.variables, recognise(Tensors(SMALL)).variables)
    assert any(repr(prefix) in note for note in found.notes)
    assert any("Sequential" in note for note in found.notes) == (prefix == "1.")


def test_the_order_of_leaves_does_not_matter() -> None:
    backwards = dict(reversed(SMALL.items()))
    _same(recognise(Tensors(backwards)).variables, recognise(Tensors(SMALL)).variables)


def test_flax_layout() -> None:
    variables = recognise(Tensors(SMALL)).variables
    flat: dict[str, np.ndarray] = {}
    for collection, modules in variables.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(modules):
            flat["/".join([collection, *(part.key for part in path)])] = leaf
    _same(recognise(Tensors(flat, layout="flax")).variables, variables)


def test_class_count_and_channels() -> None:
    found = recognise(Tensors(_arrays("resnet20-cifar-a", 43, (8, 8, 1))), num_classes=43)
    assert found.num_classes == 43
    assert found.input_shape == (32, 32, 1)
    assert found.description == "resnet20-cifar-a (naming: torchvision)"
    with pytest.raises(CheckpointError, match=r"4 classes, 10 were asked for \(--num_classes\)"):
        recognise(Tensors(SMALL), num_classes=10)


def test_constants_of_a_wrapper_are_named_and_not_applied() -> None:
    arrays = {"model." + key: array for key, array in SMALL.items()}
    arrays |= {"normalize.mean": np.array([0.5, 0.4, 0.3]), "steps": np.zeros(1)}
    found = recognise(Tensors(arrays))
    assert any("normalize.mean = 0.5, 0.4, 0.3: not applied" in note for note in found.notes)
    assert any("steps" in note for note in found.notes)


def test_weights_outside_the_prefix_are_not_dropped() -> None:
    arrays = {"model." + key: array for key, array in SMALL.items()} | {"head.weight": np.zeros((10, 6))}
    with pytest.raises(CheckpointError, match=r"head\.weight"):
        recognise(Tensors(arrays))


def test_a_file_may_name_its_architecture() -> None:
    cnn6 = _arrays("cnn6-bn-relu", shape=(32, 32, 3))
    assert recognise(Tensors(cnn6)).name == "cnn6-bn-elu"
    told = recognise(Tensors(cnn6, metadata={"architecture": "cnn6-bn-relu (naming: torchvision)"}))
    assert told.name == "cnn6-bn-relu"
    assert recognise(Tensors(cnn6), architecture="cnn6-bn-relu").name == "cnn6-bn-relu"


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("name", ["cnn6-bn-relu", "vgg:activation=relu"])
def test_only_files_of_this_package_say_what_weights_leave_open(name: str, own: bool) -> None:
    cnn6 = _arrays("cnn6-bn-elu", shape=(32, 32, 3))
    found = recognise(Tensors(cnn6, metadata={"architecture" if own else "model_name": name}, own=own))
    # Options of foreign files are not looked at.
    assert (found.name == "cnn6-bn-relu") == (own or ":" not in name)
    closed = found.variants is None or not found.variants.alternatives(found.module, (32, 32, 3))
    assert closed == own
    given = recognise(Tensors(cnn6), architecture=name)
    assert given.variants is None or not given.variants.alternatives(given.module, (32, 32, 3))


@pytest.mark.parametrize("told", ["resnet18", "xception", "../../etc", ""])
def test_a_wrong_name_in_a_file_is_only_a_note(told: str) -> None:
    found = recognise(Tensors(SMALL, metadata={"model_name": told}))
    assert found.name == "preactresnet-small"
    assert any("calls itself" in note for note in found.notes) == bool(told)


def test_the_flag_overrides_the_file() -> None:
    with pytest.raises(CheckpointError, match="resnet18 does not have these"):
        recognise(Tensors(SMALL, metadata={"architecture": "preactresnet-small"}), architecture="resnet18")
    with pytest.raises(CheckpointError, match="unknown architecture 'xception'"):
        recognise(Tensors(SMALL), architecture="xception")


def _refusal(arrays: Mapping[str, np.ndarray], **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        recognise(Tensors(arrays, **options))
    return str(caught.value)


def test_an_unknown_network_lists_the_closest() -> None:
    arrays = dict(SMALL)
    del arrays["layer2.0.bn2.weight"]
    arrays["layer4.extra"] = np.zeros(3)
    message = _refusal(arrays)
    closest = message.split("Closest: ")[1].split(" | ")[0]
    assert closest.startswith("preactresnet-small")
    assert "1 missing: layer2.0.bn2.weight; 1 extra: layer4.extra" in closest


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (["patch_embed.proj.weight", "layers.0.blocks.0.attn.relative_position_bias_table"], "a transformer"),
        (["features.denseblock1.denselayer1.odd.weight"], "a DenseNet"),
        (["layer1.0.conv9.weight", "layer1.0.shortcut.7.weight"], "a residual network"),
        (["backbone.body.conv1.weight", "roi_heads.box_head.fc6.weight"], "a detection or segmentation network"),
        (["rnn.weight_ih_l0", "rnn.weight_hh_l0"], "a recurrent network"),
        (["blocks.0.mlp_tokens.fc1.weight", "head.weight"], "an MLP mixer"),
        (["features.3.squeeze.weight", "features.3.expand1x1.weight"], "a SqueezeNet"),
        (["stage1.0.rbr_dense.conv.weight"], "a RepVGG"),
        (["blocks.1.0.conv_pw.weight", "blocks.1.0.conv_dw.weight"], "a network of separable convolutions"),
        (["features.1.0.block.0.0.weight", "head.weight"], "a network of inverted residuals"),
        (["mixed.branch1.0.weight"], "a network of several branches"),
        (["alpha", "beta"], None),
    ],
)
def test_what_is_not_close_is_not_listed(keys: list[str], kind: str | None) -> None:
    message = _refusal({key: np.zeros((5, 4, 3, 3)) for key in keys})
    assert "None is close" in message
    assert (f"by its names it is {kind} of another make" in message) == (kind is not None)
    assert "Closest" not in message


def test_the_export_that_would_work_is_spelled_out() -> None:
    grey = {"first.kernel.weight": np.zeros((5, 1, 3, 3)), "x.weight": np.zeros((2, 2, 2))}
    assert "torch.onnx.export(model.eval(), torch.zeros(1, 1, 32, 32), 'model.onnx'" in _refusal(grey)
    assert "jax.export.export(jax.jit(apply))" in _refusal({"params/x/kernel": np.zeros((2, 2, 2))}, layout="flax")


def test_the_export_has_images_of_a_size_that_the_network_takes() -> None:
    patches = {"patch.weight": np.zeros((8, 3, 16, 16)), "odd.weight": np.zeros((2, 2, 2))}
    assert "torch.zeros(1, 3, 96, 96)" in _refusal({**patches, "x.pos_embed": np.zeros((1, 37, 8))})
    assert "torch.zeros(1, 3, 224, 224)" in _refusal({**patches, "layer.attention.weight": np.zeros((8, 8))})
    assert "torch.zeros(1, 3, 32, 32)" in _refusal(patches)


def test_copies_of_the_network_are_not_used() -> None:
    """As in the robustness library, whose attacker holds the network again."""
    twice = {f"module.{where}{key}": array for key, array in SMALL.items() for where in ("model.", "attacker.model.")}
    twice["module.normalizer.new_mean"] = np.array([0.5, 0.4, 0.3])
    found = recognise(Tensors(twice))
    _same(found.variables, recognise(Tensors(SMALL)).variables)
    assert any("attacker.model." in note and "not used" in note for note in found.notes)
    assert any("new_mean = 0.5, 0.4, 0.3: not applied" in note for note in found.notes)
    twice["module.attacker.model.linear.weight"] = twice["module.model.linear.weight"] + 1
    with pytest.raises(CheckpointError, match="differ: it holds two networks"):
        recognise(Tensors(twice))


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"": np.zeros(3)},
        {"weights": np.zeros((3, 3))},
        {"conv1.weight": np.zeros(()), "linear.weight": np.zeros(()), "layer1.0.bn1.weight": np.zeros(())},
        {"conv1.weight": np.zeros((0, 0, 0, 0)), "fc1.weight": np.zeros((0, 0))},
        {"features.0.weight": np.zeros((1, 1, 0, 0)), "classifier.weight": np.zeros((0, 0))},
        {"conv_proj.weight": np.zeros((0, 3, 0, 0)), "encoder.pos_embedding": np.zeros((1, 0, 0))},
        {"features.1.0.layer_scale": np.zeros(()), "features.0.0.weight": np.zeros((4, 3, 4, 4))},
        {"features.1.block.0.0.weight": np.zeros(1), "classifier.3.weight": np.zeros(1)},
        {"features.1.0.block.0.0.weight": np.zeros(1), "classifier.1.weight": np.zeros(1)},
        {"features.denseblock1.denselayer1.conv2.weight": np.zeros(1), "features.norm5.weight": np.zeros(1)},
        {"." * 5000 + "a": np.zeros(1)},
    ],
)  # fmt: skip
def test_nonsense_is_one_clear_error(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(CheckpointError, match="no known architecture"):
        recognise(Tensors(arrays))


def test_too_many_leaves_are_refused_at_once() -> None:
    arrays = {f"layer1.{n}.bn1.weight": np.zeros(1) for n in range(MAX_LEAVES + 1)}
    with pytest.raises(CheckpointError, match=rf"{MAX_LEAVES + 1} leaves"):
        recognise(Tensors(arrays))


def test_long_names_are_refused_at_once() -> None:
    with pytest.raises(CheckpointError, match="names of its leaves"):
        recognise(Tensors({"a." * 50_000 + str(n): np.zeros(1) for n in range(3)}))


FOREIGN = {
    "c10_ibau_badnets_8.pth": ("cnn6-bn-elu", "0-1"),
    "c10_nad_wrn16_1_student.tar": ("wrn-16-1", "0-1"),
    "c10_nad_wrn16_1_teacher.tar": ("wrn-16-1", "0-1"),
    "c10_clean_resnet20.th": ("resnet20-cifar-a", "imagenet"),
    "mnist_clean_zkp.pth": ("smallcnn32-64", "0-1"),
    "mnist_zkp.pth": ("smallcnn32-64", "mnist-standard"),
    "c10_zsoumia_DEGENERATE.pth": ("badnets-cnn", "0-1"),
}


@pytest.mark.skipif(not (SHARED / "foreign").is_dir(), reason=f"no foreign checkpoints in {SHARED}")
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_checkpoints_reach_their_clean_accuracy(name: str) -> None:
    sys.path.insert(0, str(SHARED))
    try:
        from read_images import load
    finally:
        sys.path.remove(str(SHARED))
    stated = {entry["file"]: entry for entry in json.loads((SHARED / "foreign" / "manifest.json").read_text())}[name]
    stored = torch.load(SHARED / "foreign" / name, weights_only=True, map_location="cpu")
    weights = stored.get("net", stored.get("state_dict", stored))
    found = recognise(Tensors({key: tensor.numpy() for key, tensor in weights.items()}))
    architecture, scale = FOREIGN[name]
    assert found.name == architecture
    images, labels = load(f"{stated['dataset']}-test")
    every = slice(None, None, 4)
    inputs = images[every, ..., : found.input_shape[2]].astype(np.float32) / 255
    inputs = np.asarray(preprocess.parse(scale)(inputs))
    apply = jax.jit(found.module.apply)
    predicted = [np.asarray(apply(found.variables, batch)).argmax(1) for batch in np.split(inputs, 5)]
    assert abs(np.mean(np.concatenate(predicted) == labels[every]) - stated["clean_acc"]) <= 0.015

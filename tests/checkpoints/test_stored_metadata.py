"""Native checkpoints: what is saved comes back, with its metadata, or not at all."""

import gc
import json
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from flax import serialization, traverse_util

from tests import factory
from xray_jax import checkpoints
from xray_jax.checkpoints import CheckpointError
from xray_jax.preprocess import parse

METADATA = {
    "architecture": "preactresnet",
    "num_classes": 5,
    "input_shape": [factory.SIDE, factory.SIDE, 3],
    "preprocess": parse("cifar10").settings(),
    "clean_accuracy": 0.5,
}
WRITERS = {
    "orbax": checkpoints.save_orbax,
    "weights.msgpack": checkpoints.save_msgpack,
    "weights.safetensors": checkpoints.save_safetensors,
}


@pytest.fixture(params=WRITERS)
def saved(request, tmp_path: Path) -> Path:
    path = tmp_path / "with spaces and ü" / request.param
    path.parent.mkdir()
    WRITERS[request.param](path, factory.tiny_variables(), METADATA)
    return path


def assert_same(found, expected) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_round_trip_without_flags(saved):
    model = checkpoints.load(saved)
    assert model.network == factory.TINY
    assert (model.num_classes, model.input_shape) == (5, (8, 8, 3))
    assert model.preprocess == parse("cifar10")
    assert_same(model.variables, factory.tiny_variables())


def test_flags_win_over_metadata(saved):
    assert checkpoints.load(saved, preprocess="+-1").preprocess == parse("+-1")
    assert checkpoints.load(saved, input_shape=(16, 16, 3)).input_shape == (16, 16, 3)
    with pytest.raises(CheckpointError, match=r"5 classes.* 7"):
        checkpoints.load(saved, num_classes=7)


@pytest.mark.parametrize(("size", "opens"), [([1024, 8], True), ([1025, 8], False), (100_000, False)])
def test_a_file_may_not_have_images_resized_without_bound(tmp_path: Path, size, opens: bool) -> None:
    asked = {"preset": "cifar10", "size": size}
    path = factory.save_tiny(tmp_path / "weights.safetensors", preprocess=asked)
    # Whoever scans may ask for any size.
    assert checkpoints.load(path, preprocess=asked).preprocess == parse(asked)
    if opens:
        assert checkpoints.load(path).preprocess == parse(asked)
        return
    with pytest.raises(CheckpointError, match=r"resized to .* may ask for 1024 at most; .*--preprocess"):
        checkpoints.load(path)


def test_flax_itself_reads_and_writes_our_msgpack(tmp_path):
    tree = factory.tiny_variables()
    checkpoints.save_msgpack(tmp_path / "ours", tree, METADATA)
    restored = serialization.msgpack_restore((tmp_path / "ours").read_bytes())
    assert json.loads(restored.pop("xray_jax"))["num_classes"] == 5
    assert_same(restored, tree)
    (tmp_path / "theirs.msgpack").write_bytes(serialization.to_bytes({**tree, "opt_state": {"0": np.ones(3)}}))
    model = checkpoints.load(tmp_path / "theirs.msgpack")
    assert_same(model.variables, tree)
    assert any("opt_state" in note for note in model.notes)


def test_msgpack_chunked_arrays_join(tmp_path, monkeypatch):
    tree = factory.tiny_variables()
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 256)
    (tmp_path / "a.msgpack").write_bytes(serialization.to_bytes(tree))
    assert b"__msgpack_chunked_array__" in (tmp_path / "a.msgpack").read_bytes()
    assert_same(checkpoints.load(tmp_path / "a.msgpack").variables, tree)


def test_orbax_itself_reads_and_writes_ours(tmp_path):
    import orbax.checkpoint as ocp

    tree = factory.tiny_variables()
    checkpoints.save_orbax(tmp_path / "ours", tree, METADATA)
    with ocp.StandardCheckpointer() as checkpointer:
        assert_same(checkpointer.restore(tmp_path / "ours", tree), tree)
        checkpointer.save(tmp_path / "theirs", {**tree, "opt_state": [np.ones(3)], "step": 7})
    model = checkpoints.load(tmp_path / "theirs")
    assert_same(model.variables, tree)


@pytest.mark.parametrize("options", [{"use_ocdbt": False}, {"use_zarr3": True}])
def test_other_orbax_layouts(tmp_path, options):
    import orbax.checkpoint as ocp

    tree = factory.tiny_variables()
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**options)) as checkpointer:
        checkpointer.save(tmp_path / "a", tree)
    assert_same(checkpoints.load(tmp_path / "a").variables, tree)


def test_newest_step_of_an_orbax_manager(tmp_path):
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(tmp_path / "run") as manager:
        for step in (9, 10):
            manager.save(step, args=ocp.args.StandardSave(factory.tiny_variables(seed=step)))
    model = checkpoints.load(tmp_path / "run")
    assert_same(model.variables, factory.tiny_variables(seed=10))
    assert any("10/default" in note for note in model.notes)


@pytest.mark.parametrize("name", ["a.safetensors", "a.npz"])
def test_published_names_open_too(tmp_path, name):
    from safetensors.numpy import save_file

    from xray_jax.models import published

    arrays = {key: np.ascontiguousarray(array) for key, array in published.to_tensors(factory.tiny_variables()).items()}
    if name.endswith("npz"):
        np.savez_compressed(tmp_path / name, **arrays)
    else:
        save_file(arrays, tmp_path / name)
    assert_same(checkpoints.load(tmp_path / name).variables, factory.tiny_variables())


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("name", WRITERS)
def test_other_precisions_become_float32(tmp_path, name, dtype):
    tree = jax.tree.map(lambda leaf: leaf.astype(dtype), factory.tiny_variables())
    WRITERS[name](tmp_path / name, tree, METADATA)
    assert_same(checkpoints.load(tmp_path / name).variables, jax.tree.map(lambda leaf: leaf.astype(np.float32), tree))


def test_every_wrong_leaf_is_named_at_once(tmp_path):
    flat = traverse_util.flatten_dict(factory.tiny_variables(), sep="/")
    flat["params/linear/kernel"] = np.ones((8, 6), np.float32)
    del flat["params/layer2.0/conv2/kernel"]
    flat["params/surplus/kernel"] = np.ones((1, 1), np.float32)
    checkpoints.save_safetensors(tmp_path / "a.safetensors", traverse_util.unflatten_dict(flat, sep="/"), METADATA)
    with pytest.raises(CheckpointError) as raised:
        checkpoints.load(tmp_path / "a.safetensors", architecture="preactresnet", num_classes=5)
    message = str(raised.value)
    assert str(tmp_path / "a.safetensors") in message
    for name in ("layer2.0.conv2.weight", "surplus.weight", "linear"):
        assert name in message


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(tmp_path, bad):
    tree = factory.tiny_variables()
    tree["params"]["linear"]["kernel"][3, 1] = bad
    checkpoints.save_safetensors(tmp_path / "a.safetensors", tree, METADATA)
    with pytest.raises(CheckpointError, match=r"weights contain NaN/inf in leaf params/linear/kernel"):
        checkpoints.load(tmp_path / "a.safetensors")


def test_weights_beyond_float32(tmp_path):
    tree = jax.tree.map(lambda leaf: leaf.astype(np.float64), factory.tiny_variables())
    tree["params"]["linear"]["bias"][0] = 1e300
    checkpoints.save_safetensors(tmp_path / "a.safetensors", tree, METADATA)
    with pytest.raises(CheckpointError, match="NaN/inf in leaf params/linear/bias"):
        checkpoints.load(tmp_path / "a.safetensors")


def test_unusable_metadata_says_so(tmp_path):
    checkpoints.save_safetensors(tmp_path / "a.safetensors", factory.tiny_variables(), {"preprocess": {"std": [0.0]}})
    with pytest.raises(CheckpointError, match="--preprocess"):
        checkpoints.load(tmp_path / "a.safetensors")


@pytest.mark.exhaustive
def test_reading_leaves_nothing_behind(saved: Path) -> None:
    """A sweep reads thousands of checkpoints in one process."""

    def objects() -> int:
        checkpoints.load(saved)
        gc.collect()
        return len(gc.get_objects())

    objects()
    before = objects()
    for _ in range(8):
        checkpoints.load(saved)
    assert objects() - before < 8 * 10

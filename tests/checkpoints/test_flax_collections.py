"""Trees of Flax: those beside `params` are never taken for the network, states side by side are a network each."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import serialization
from safetensors.numpy import save_file

from tests import factory
from xray_jax import checkpoints
from xray_jax.checkpoints import CheckpointError, SeveralNetworksError
from xray_jax.checkpoints.contents import Tensors, flatten
from xray_jax.checkpoints.recognition import recognise

TREE = factory.tiny_variables()
OTHER = jax.tree.map(lambda leaf: leaf + 1, TREE["params"])


def _assert_read(path: Path, second: str | None) -> None:
    model = checkpoints.load(path)
    jax.tree.map(np.testing.assert_array_equal, model.variables, TREE)
    assert second is None or any("not used" in note and second in note for note in model.notes)


@pytest.mark.parametrize("second", ["params_ema", "ema_params", "target_params", "momentum"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("outer", ["", "state"])
def test_a_second_tree_of_weights_is_named_and_not_used(tmp_path: Path, second: str, first: bool, outer: str) -> None:
    beside = {second: OTHER}
    tree = {**beside, **TREE} if first else {**TREE, **beside}
    tree = {"step": np.int32(3), **({outer: tree} if outer else tree)}
    (tmp_path / "a.msgpack").write_bytes(serialization.msgpack_serialize(tree))
    _assert_read(tmp_path / "a.msgpack", second)


def test_safetensors_too(tmp_path: Path) -> None:
    arrays = {name: np.asarray(leaf) for name, leaf in flatten({**TREE, "zweite": OTHER}).items()}
    save_file(arrays, tmp_path / "a.safetensors")
    _assert_read(tmp_path / "a.safetensors", "zweite")


def test_the_networks_own_collections_alone_need_no_note(tmp_path: Path) -> None:
    (tmp_path / "a.msgpack").write_bytes(serialization.to_bytes(TREE))
    assert not any("not used" in note for note in checkpoints.load(tmp_path / "a.msgpack").notes)


def test_two_leaves_of_one_name_are_refused() -> None:
    """Readers of other packages may give collections of any name."""
    flat = flatten({**TREE, "average": OTHER})
    with pytest.raises(CheckpointError, match="two leaves come to the name"):
        recognise(Tensors(flat, layout="flax"))


def _save(path: Path, tree: dict[str, Any]) -> Path:
    if path.suffix:
        path.write_bytes(serialization.msgpack_serialize(tree))
    else:
        with ocp.PyTreeCheckpointer() as checkpointer:
            checkpointer.save(str(path), tree)
    return path


@pytest.mark.parametrize("name", ["a.msgpack", "a"])
@pytest.mark.parametrize("outer", [(), ("models",)])
def test_states_side_by_side_are_a_network_each(tmp_path: Path, name: str, outer: tuple[str, ...]) -> None:
    trees = {"student": {**TREE, "step": np.int32(3)}, "teacher": {"params": OTHER, "batch_stats": TREE["batch_stats"]}}
    tree: dict[str, Any] = trees
    for key in outer:
        tree = {key: tree}
    path = _save(tmp_path / name, {**tree, "epoch": np.int32(1), "ema": {"params": OTHER}})
    names = tuple(".".join((*outer, part)) for part in ("student", "teacher"))
    with pytest.raises(SeveralNetworksError) as caught:
        checkpoints.load(path)
    assert caught.value.parts == names
    for part, expected in zip(names, trees.values(), strict=True):
        found = checkpoints.load(f"{path}#{part}")
        kept = {key: expected[key] for key in ("params", "batch_stats")}
        jax.tree.map(np.testing.assert_array_equal, found.variables, kept)
        assert any("not used: ema, epoch" in note for note in found.notes)


def test_of_states_side_by_side_the_classifier_is_taken(tmp_path: Path) -> None:
    critic = {"params": {"a": {"kernel": np.ones((2, 3), np.float32)}, "b": {"kernel": np.ones((2, 3), np.float32)}}}
    path = _save(tmp_path / "a.msgpack", {"critic": critic, "classifier": {**TREE, "step": np.int32(3)}})
    _assert_read(path, None)
    assert any("'classifier' is the classifier; not scanned: critic" in note for note in checkpoints.load(path).notes)


@pytest.mark.parametrize("training", ["opt", "ema", "ema_state", "optim_0", "averages"])
def test_trees_of_the_training_are_no_networks(tmp_path: Path, training: str) -> None:
    moments = {"0": {"mu": {"params": OTHER}, "nu": {"params": OTHER}}}
    _assert_read(_save(tmp_path / "a.msgpack", {training: moments, "zustand": TREE}), training)
    inside = {**TREE, training: moments}
    _assert_read(_save(tmp_path / "a.msgpack", {"zustand": inside}), training)


def test_a_network_of_a_name_like_the_trainings_alone_is_read(tmp_path: Path) -> None:
    _assert_read(_save(tmp_path / "a.msgpack", {"ema": TREE}), None)


def test_more_trees_than_networks_of_one_training_are_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.msgpack", {f"member{k}": TREE for k in range(9)})
    with pytest.raises(CheckpointError, match=r"9 trees with `params` \(member0, .*save the one to scan alone"):
        checkpoints.load(path)


@pytest.mark.parametrize("second", [{"a.b": TREE}, {"a.b.c": TREE}])
def test_names_that_run_into_each_other_are_refused(tmp_path: Path, second: dict[str, Any]) -> None:
    """One network would take the other's arrays, and nobody would look at its own."""
    path = _save(tmp_path / "a.msgpack", {"a": {"b": {"params": OTHER}}, **second})
    with pytest.raises(CheckpointError, match="run into each other"):
        checkpoints.load(path)

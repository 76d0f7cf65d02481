"""Trees of Flax beside `params`, averages of the weights or a target network, are never taken for the network."""

from pathlib import Path

import jax
import numpy as np
import pytest
from flax import serialization
from safetensors.numpy import save_file

from tests import factory
from xray_jax import checkpoints
from xray_jax.checkpoints import CheckpointError
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

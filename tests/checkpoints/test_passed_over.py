"""What of a file is no part of the network: boxes of nnx are undone, averaged weights are named."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from tests import factory
from xray_jax import checkpoints
from xray_jax.classifier import Classifier
from xray_jax.models import published


def _boxed(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: {"value": leaf}, tree)


def _opened(path: Path) -> Classifier:
    model = checkpoints.load(path)
    assert isinstance(model, Classifier)
    return model


def test_an_nnx_state_of_boxes(tmp_path: Path) -> None:
    """As orbax stores `nnx.state(model)`: parameters and statistics in one tree, each leaf in a box."""
    import orbax.checkpoint as ocp

    variables = factory.tiny_variables()
    state = {name: dict(module) for name, module in variables["params"].items()}

    def add(state: Any, statistics: Any) -> Any:
        merged = dict(state)
        for name, child in statistics.items():
            merged[name] = add(merged.get(name, {}), child) if isinstance(child, dict) else child
        return merged

    state = _boxed(add(state, variables["batch_stats"]))
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "a", state)
    model = _opened(tmp_path / "a")
    assert model.network == factory.TINY
    jax.tree.map(np.testing.assert_array_equal, model.variables, variables)


def test_averaged_weights_are_named(tmp_path: Path) -> None:
    arrays = published.to_tensors(factory.tiny_variables())
    weights = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    averaged = {name: tensor + 1 for name, tensor in weights.items()}
    torch.save({"state_dict": weights, "state_dict_ema": averaged, "ema_decay": 0.9}, tmp_path / "a.pt")
    model = _opened(tmp_path / "a.pt")
    jax.tree.map(np.testing.assert_array_equal, model.variables, factory.tiny_variables())
    assert "averaged weights of the training, which are not scanned: state_dict_ema" in model.notes
    torch.save({"state_dict": weights, "ema_decay": 0.9}, tmp_path / "b.pt")
    assert not any("averaged" in note for note in _opened(tmp_path / "b.pt").notes)

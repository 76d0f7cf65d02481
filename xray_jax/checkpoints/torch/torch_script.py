"""The weights of a TorchScript program: tensors of its modules under their paths. Its code is never run, nor read."""

import itertools
from collections.abc import Iterator
from typing import Any

from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.torch import state_dict, tensors
from xray_jax.checkpoints.torch.pickle_values import Call, Name, Pickle, brief
from xray_jax.checkpoints.torch.tensors import Container

CONSTANTS = "constants.pkl"
"""The member that a program has and a state dict has not."""

_MAX_DEPTH = 32
_MAX_LEAVES = 10_000
_MAX_ATTRIBUTES = 200_000
_LONGEST_NAME = 256


def extract(pickle: Pickle, container: Container, size: int) -> Tensors:
    """What `state_dict()` of the program would hold, tensors lazy.

    Raises:
      CheckpointError: for a pickle that asks for dangerous calls, damaged tensors, or no weights.
    """
    state_dict.refuse_malice(pickle.names)
    arrays: dict[str, Any] = {}
    for key, value in _leaves(pickle.value, "", 0, itertools.count()):
        if len(arrays) == _MAX_LEAVES:
            raise CheckpointError(f"its modules hold more than {_MAX_LEAVES} tensors: refused")
        if key in arrays:
            raise CheckpointError(f"leaf {key} occurs twice")
        try:
            arrays[key] = tensors.tensor(value, container)
        except CheckpointError as error:
            raise CheckpointError(f"leaf {key}: {error}") from error
    if not arrays:
        raise CheckpointError(
            "it is a TorchScript program without weights in its modules; save a state dict, "
            "torch.save(model.state_dict(), path), or export it to ONNX"
        )
    note = "weights of a TorchScript program: its code was not run, the network is recognised from the weights"
    return Tensors(arrays, "torch", {}, (note,), size)


def _leaves(module: Any, prefix: str, depth: int, seen: Iterator[int]) -> Iterator[tuple[str, Call]]:
    """Names and tensors below a module; `seen` counts what is looked at, as modules may share what they hold."""
    if depth == _MAX_DEPTH:
        raise CheckpointError(f"its modules are nested more than {_MAX_DEPTH} deep: refused")
    for name, child in tensors.pairs(module.state) or () if _is_module(module) else ():
        if next(seen) >= _MAX_ATTRIBUTES:
            raise CheckpointError(f"its modules hold more than {_MAX_ATTRIBUTES} values: refused")
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise CheckpointError(f"a value of its modules is called {brief(name)}: damaged")
        if tensors.is_tensor(child):
            yield f"{prefix}{name}", child
        elif _is_module(child):
            yield from _leaves(child, f"{prefix}{name}.", depth + 1, seen)


def _is_module(value: Any) -> bool:
    # Programs name their classes in a module of their own.
    return (
        isinstance(value, Call)
        and isinstance(value.function, Name)
        and value.function.module.split(".")[0] == "__torch__"
    )

"""Trees of linen: which of a file's arrays are a network's collections, and how many networks there are."""

import re
from collections.abc import Iterable, Mapping

from xray_jax.checkpoints.contents import Array, CheckpointError

_LEAVES = ("kernel", "scale", "embedding")
_COLLECTIONS = ("params", "batch_stats")
"""Of linen's variables those that the networks here have."""

_PARAMS = re.compile(r"(?<![^/])params/")
_TRAINING = re.compile(r"(^|_)(optim|optax|sched|(opt|mu|nu|momentum|ema|averages?)(_|\d*$))")
"""Entries that hold trees like the network's and belong to the training."""

_MAX_NETWORKS = 8
_LISTED = 5


def are_linen(names: Iterable[str]) -> bool:
    """Whether names are paths of a linen tree or end in linen's leaf names."""
    return any("/" in name or name.rsplit(".", 1)[-1] in _LEAVES for name in names)


def networks(arrays: Mapping[str, Array]) -> tuple[Mapping[str, Array], tuple[str, ...], tuple[str, ...]]:
    """The collections of each network, as linen has them, from train states or a bare tree of parameters.

    Other trees beside `params`, averages of the weights or a target network, have the same names below their own: they
    would be taken for it. Trees with a `params` of their own, side by side, are a network each.

    Args:
      arrays: paths joined by "/" to arrays.

    Returns:
      The arrays, by paths that begin with the collection; the networks' names where there are several, with which (and
      a dot) the paths begin then; and notes.

    Raises:
      CheckpointError: more networks than a file of one model has.
    """
    arrays = _without_boxes(arrays)
    outers = _outers(arrays)
    if not outers:
        return {f"params/{name}": array for name, array in arrays.items()}, (), ("taken as a bare tree of parameters",)
    if len(outers) > _MAX_NETWORKS:
        listed = ", ".join(_name(outer) for outer in outers[:_LISTED])
        raise CheckpointError(f"it holds {len(outers)} trees with `params` ({listed}, ...); save the one to scan alone")
    names = tuple(map(_name, outers)) if len(outers) > 1 else ()
    kept: dict[str, Array] = {}
    used: set[str] = set()
    for outer in outers:
        start = f"{_name(outer)}." if len(outers) > 1 else ""
        if any(name.startswith(f"{outer}params/params/") for name in arrays):
            outer += "params/"
        inside = {name.removeprefix(outer): array for name, array in arrays.items() if name.startswith(outer)}
        own = {name: array for name, array in inside.items() if name.split("/")[0] in _COLLECTIONS and "/" in name}
        kept |= {start + name: array for name, array in own.items()}
        used |= {outer + name for name in own}
    # As they are called in the tree: beside the one network, or at the top where there are several.
    around = outers[0] if len(outers) == 1 else ""
    skipped = sorted({name.removeprefix(around).split("/")[0] for name in arrays.keys() - used})
    note = f"read of the tree: {' and '.join(_COLLECTIONS)}; not used: {', '.join(skipped[:_LISTED])}"
    return kept, names, (note,) if skipped else ()


def _outers(arrays: Iterable[str]) -> list[str]:
    """What stands before the outermost `params` of each network's tree, as "state/"; nothing of the training."""
    found = sorted({name[: place.start()] for name in arrays if (place := _PARAMS.search(name))})
    found = [outer for outer in found if not any(map(_TRAINING.search, outer.split("/")))] or found[:1]
    outermost: list[str] = []
    # What begins with another follows it directly in this order.
    for outer in found:
        if not outermost or not outer.startswith(outermost[-1]):
            outermost.append(outer)
    return outermost


def _name(outer: str) -> str:
    return outer.rstrip("/").replace("/", ".")


def _without_boxes(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
    """Names without the `value` in which nnx boxes every leaf of a state."""
    boxed = all(name.endswith("/value") for name in arrays)
    return {name.removesuffix("/value"): array for name, array in arrays.items()} if boxed else arrays

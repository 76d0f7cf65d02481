"""Metadata stored beside the arrays of a checkpoint, to scan it again without flags, and a digest of the arrays.

None of orbax, msgpack and safetensors keeps a checksum of array data, so one flipped bit would be one silently wrong
weight. The digest is written with the metadata and checked on reading.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from xray_jax.checkpoints.contents import Array, CheckpointError, Tensors, digest, flatten, parse_json

KEY = "xray_jax"
DIGEST = "sha256"

_FLAX_LEAVES = ("kernel", "scale", "embedding")
_COLLECTIONS = ("params", "batch_stats")
"""Of linen's variables those that the networks here have."""


def header(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> dict[str, str]:
    """The entry to store with `arrays`: one JSON string under `KEY`, so that every format can hold it."""
    return {KEY: json.dumps({**metadata, DIGEST: digest(arrays)}, sort_keys=True)}


def host_arrays(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A linen variables tree as {"params/conv1/kernel": array}, on the host."""
    return {name: np.asarray(leaf) for name, leaf in flatten(variables).items()}


def tensors(arrays: Mapping[str, Array], stored: Any, notes: tuple[str, ...], size: int) -> Tensors:
    """`Tensors` from arrays and whatever metadata a file stores, this package's or others'.

    Raises:
      CheckpointError: when there is a digest and the arrays do not have it.
    """
    metadata = dict(stored) if isinstance(stored, Mapping) else {}
    own = isinstance(metadata.get(KEY), str)
    if own:
        metadata = parse_json(metadata[KEY].encode(), "its metadata")
        if not isinstance(metadata, dict):
            raise CheckpointError("its metadata is not a JSON object")
        if metadata.pop(DIGEST, None) != digest(arrays):
            raise CheckpointError("its weights do not have the digest that was stored with them: copy it again")
    elif "architecture" in metadata:
        # It is this package's word for a name of its registry; elsewhere it is anything.
        metadata["model_name"] = metadata.pop("architecture")
    layout = layout_of(arrays)
    if layout == "flax":
        arrays, more = _collections(_without_boxes(arrays))
        notes += more
    return Tensors(arrays, layout, metadata, notes, size, own=own)


def layout_of(arrays: Mapping[str, Array]) -> Any:
    """ "flax" when names are paths of a linen tree or end in linen's leaf names, else "torch"."""
    linen = any("/" in name or name.rsplit(".", 1)[-1] in _FLAX_LEAVES for name in arrays)
    return "flax" if linen else "torch"


def _without_boxes(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
    """Names without the `value` in which nnx boxes every leaf of a state."""
    boxed = all(name.endswith("/value") for name in arrays)
    return {name.removesuffix("/value"): array for name, array in arrays.items()} if boxed else arrays


def _collections(arrays: Mapping[str, Array]) -> tuple[Mapping[str, Array], tuple[str, ...]]:
    """The collections of a network, as linen has them, from a train state or a bare tree of parameters.

    Other trees beside `params`, averages of the weights or a target network, have the same names below their own: they
    would be taken for it.
    """
    outers = [name[: place.start()] for name in arrays if (place := re.search(r"(?<![^/])params/", name))]
    if not outers:
        return {f"params/{name}": array for name, array in arrays.items()}, ("taken as a bare tree of parameters",)
    outer = min(outers, key=len)
    if any(name.startswith(f"{outer}params/params/") for name in arrays):
        outer += "params/"
    inside = {name.removeprefix(outer): array for name, array in arrays.items() if name.startswith(outer)}
    kept = {name: array for name, array in inside.items() if name.split("/")[0] in _COLLECTIONS and "/" in name}
    skipped = sorted({name.removeprefix(outer).split("/")[0] for name in set(arrays) - {outer + name for name in kept}})
    note = f"read of the tree: {' and '.join(_COLLECTIONS)}; not used: {', '.join(skipped[:5])}"
    return kept, (note,) if skipped else ()

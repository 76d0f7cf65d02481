"""Metadata stored beside the arrays of a checkpoint, to scan it again without flags, and a digest of the arrays.

None of orbax, msgpack and safetensors keeps a checksum of array data, so one flipped bit would be one silently wrong
weight. The digest is written with the metadata and checked on reading.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from xray_jax.checkpoints.contents import Array, CheckpointError, Tensors, digest, flatten, parse_json

KEY = "xray_jax"
DIGEST = "sha256"

_FLAX_LEAVES = ("kernel", "scale", "embedding")


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
    if isinstance(metadata.get(KEY), str):
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
    return Tensors(arrays, layout, metadata, notes, size)


def layout_of(arrays: Mapping[str, Array]) -> Any:
    """ "flax" when names are paths of a linen tree or end in linen's leaf names, else "torch"."""
    linen = any("/" in name or name.rsplit(".", 1)[-1] in _FLAX_LEAVES for name in arrays)
    return "flax" if linen else "torch"


def _without_boxes(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
    """Names without the `value` in which nnx boxes every leaf of a state."""
    boxed = all(name.endswith("/value") for name in arrays)
    return {name.removesuffix("/value"): array for name, array in arrays.items()} if boxed else arrays


def _collections(arrays: Mapping[str, Array]) -> tuple[Mapping[str, Array], tuple[str, ...]]:
    """Names that begin with their collection, as linen has it, from a train state or a bare tree of parameters."""
    if not any("params/" in name for name in arrays):
        return {f"params/{name}": array for name, array in arrays.items()}, ("taken as a bare tree of parameters",)
    outer = min((name[: name.index("params/")] for name in arrays if "params/" in name), key=len)
    if any(name.startswith(f"{outer}params/params/") for name in arrays):
        outer += "params/"
    inside = {name.removeprefix(outer): array for name, array in arrays.items() if name.startswith(outer)}
    kept = {name: array for name, array in inside.items() if "/" in name}
    skipped = sorted(set(arrays) - {outer + name for name in kept})
    return kept, (f"skipped, in no collection: {', '.join(skipped[:5])}",) if skipped else ()

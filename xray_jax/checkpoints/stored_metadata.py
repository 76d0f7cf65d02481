"""Metadata stored beside the arrays of a checkpoint, to scan it again without flags, and a digest of the arrays.

None of orbax, msgpack and safetensors keeps a checksum of array data, so one flipped bit would be one silently wrong
weight. The digest is written with the metadata and checked on reading.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from xray_jax.checkpoints import linen_trees
from xray_jax.checkpoints.contents import Array, CheckpointError, Tensors, digest, flatten, parse_json

KEY = "xray_jax"
DIGEST = "sha256"


def header(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> dict[str, str]:
    """The entry to store with `arrays`: one JSON string under `KEY`, so that every format can hold it."""
    return {KEY: json.dumps({**metadata, DIGEST: digest(arrays)}, sort_keys=True)}


def host_arrays(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A linen variables tree as {"params/conv1/kernel": array}, on the host."""
    return {name: np.asarray(leaf) for name, leaf in flatten(variables).items()}


def tensors(arrays: Mapping[str, Array], stored: Any, notes: tuple[str, ...], size: int) -> Tensors:
    """`Tensors` from arrays and whatever metadata a file stores, this package's or others'.

    Raises:
      CheckpointError: the arrays do not have the digest that is stored, or are of more networks than any file has.
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
    if not linen_trees.are_linen(arrays):
        return Tensors(arrays, "torch", metadata, notes, size, own=own)
    arrays, networks, more = linen_trees.networks(arrays)
    return Tensors(arrays, "flax", metadata, notes + more, size, networks, own)

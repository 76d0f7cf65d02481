"""Checkpoints of any kind to models that can be scanned; nothing in a file is ever executed.

The `save_*` functions write weights with the metadata to scan them again without flags: JSON with `architecture`,
`num_classes`, `input_shape`, `preprocess` (as `Preprocess.settings` gives it) and whatever else the writer wants kept.
A digest of the arrays is added, and checked on reading.
"""

from xray_jax.checkpoints.contents import CheckpointError as CheckpointError
from xray_jax.checkpoints.contents import SeveralNetworksError as SeveralNetworksError
from xray_jax.checkpoints.contents import Tensors as Tensors
from xray_jax.checkpoints.flax.msgpack import save as save_msgpack
from xray_jax.checkpoints.flax.orbax import save as save_orbax
from xray_jax.checkpoints.formats import SUFFIXES as SUFFIXES
from xray_jax.checkpoints.formats import format_of as format_of
from xray_jax.checkpoints.formats import has_known_format as has_known_format
from xray_jax.checkpoints.formats import is_checkpoint as is_checkpoint
from xray_jax.checkpoints.formats import sha256 as sha256
from xray_jax.checkpoints.loading import load as load
from xray_jax.checkpoints.loading import split_part as split_part
from xray_jax.checkpoints.readers import Reader as Reader
from xray_jax.checkpoints.safetensors import save as save_safetensors

__all__ = [
    "SUFFIXES",
    "CheckpointError",
    "Reader",
    "SeveralNetworksError",
    "Tensors",
    "format_of",
    "has_known_format",
    "is_checkpoint",
    "load",
    "save_msgpack",
    "save_orbax",
    "save_safetensors",
    "sha256",
    "split_part",
]

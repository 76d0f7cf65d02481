"""Checkpoints of any kind to models that can be scanned; nothing in a file is ever executed."""

from xray_jax.checkpoints.contents import CheckpointError as CheckpointError
from xray_jax.checkpoints.contents import Tensors as Tensors
from xray_jax.checkpoints.formats import format_of as format_of
from xray_jax.checkpoints.formats import is_checkpoint_folder as is_checkpoint_folder
from xray_jax.checkpoints.formats import sha256 as sha256
from xray_jax.checkpoints.loading import load as load
from xray_jax.checkpoints.saving import save_msgpack as save_msgpack
from xray_jax.checkpoints.saving import save_orbax as save_orbax
from xray_jax.checkpoints.saving import save_safetensors as save_safetensors

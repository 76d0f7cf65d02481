"""Native checkpoints: weights with the metadata to scan them again without flags.

`metadata` is JSON: `architecture`, `num_classes`, `input_shape`, `preprocess` (as `Preprocess.settings` gives it) and
whatever else the writer wants kept. A digest of the arrays is added and checked on reading.
"""

from xray_jax.checkpoints.flax.msgpack import save as save_msgpack
from xray_jax.checkpoints.flax.orbax import save as save_orbax
from xray_jax.checkpoints.safetensors import save as save_safetensors

__all__ = ["save_msgpack", "save_orbax", "save_safetensors"]

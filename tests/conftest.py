"""Tests run strict: eight simulated devices; neither ranks nor types are promoted silently; warnings are errors."""

import os

# Before jax is imported anywhere: device count is fixed at start-up.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

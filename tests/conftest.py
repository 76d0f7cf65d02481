"""Tests run strict: eight simulated devices; neither ranks nor types are promoted silently; warnings are errors.

Of tests marked `exhaustive` a fixed part of the cases runs; `--exhaustive` runs them all (`tests/exhaustive.py`).
"""

import os
import shutil
import tempfile

from tests.processes import compiled_once

# Before jax is imported anywhere: all of it is fixed at start-up. Compiling is most of what tests do, and LLVM's first
# level takes half as long as its third, the usual one; what XLA_FLAGS says already comes after it and wins.
os.environ["XLA_FLAGS"] = " ".join(
    ("--xla_backend_optimization_level=1", os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8")
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# What one test compiles, or a program that it starts, the next one reads; so does the other worker.
os.environ.update(
    {} if "PYTEST_XDIST_WORKER" in os.environ else compiled_once(tempfile.mkdtemp(prefix="xray-jax-tests-"))
)

import jax

from tests.exhaustive import exhaustive as exhaustive
from tests.exhaustive import pytest_addoption as pytest_addoption
from tests.exhaustive import pytest_collection_modifyitems as pytest_collection_modifyitems

collect_ignore = ["oracles/make_published.py"]
"""What needs packages that the tests do without."""

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_sessionfinish() -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

"""Tests run strict: eight simulated devices; neither ranks nor types are promoted silently; warnings are errors.

Of tests marked `exhaustive` a fixed part of the cases runs; `--exhaustive` runs them all (`tests/exhaustive.py`).
"""

import os
from collections.abc import Iterator
from unittest import mock

# Before jax is imported anywhere: both are fixed at start-up. Compiling is most of what tests do, and LLVM's first level
# takes half as long as its third, the usual one; whatever XLA_FLAGS says before comes after and wins.
os.environ["XLA_FLAGS"] = " ".join(
    ("--xla_backend_optimization_level=1", os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8")
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

from tests.exhaustive import exhaustive as exhaustive
from tests.exhaustive import pytest_addoption as pytest_addoption
from tests.exhaustive import pytest_collection_modifyitems as pytest_collection_modifyitems
from tests.processes import compiled_once

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="session", autouse=True)
def programs_compile_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What one program that tests start compiles, the next one reads; this process has read its settings before."""
    with mock.patch.dict(os.environ, compiled_once(tmp_path_factory.mktemp("compiled"))):
        yield

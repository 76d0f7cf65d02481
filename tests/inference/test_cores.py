"""Cores as devices, in processes of their own: JAX counts its devices once."""

import os
import subprocess
import sys

import jax

from xray_jax.inference import cores

SHOW = (
    "from xray_jax.inference.cores import use_all_cores; use_all_cores(); import jax; print(jax.local_device_count())"
)


def shown(flags: str) -> int:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    child = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True)
    return int(child.stdout)


def test_cores_become_devices_unless_the_user_says_how_many() -> None:
    there = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    assert shown("") == min(cores.MOST, there)
    assert shown("--xla_force_host_platform_device_count=3") == 3


def test_devices_that_jax_has_stay() -> None:
    before = jax.local_devices()
    cores.use_all_cores()
    assert jax.local_devices() == before

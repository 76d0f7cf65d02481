"""A Ray cluster of this machine, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def ray_cluster(cpus: int) -> Iterator[None]:
    """Starts Ray, and skips the test where Ray is not installed."""
    ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'xray-jax[ray]'")
    # Ray gives way to all others, by itself: beside other tests an actor would then take a minute to start.
    settings = {"worker_niceness": 0, "prestart_worker_first_driver": False}
    ray.init(num_cpus=cpus, num_gpus=0, include_dashboard=False, log_to_driver=False, _system_config=settings)
    try:
        yield
    finally:
        ray.shutdown()

"""One checkpoint alone on a processor: its queries are split over the cores as over devices."""

import os
import sys

import jax

MOST = 4
"""Devices: the probe's rounds are small, and with more of them most of a batch is filling."""


def use_all_cores() -> None:
    """Makes devices of the processor's cores, up to `MOST`; without effect once JAX has its devices.

    A small network alone does not keep two cores busy: XLA runs most of its operations on one. Two checkpoints at once
    do, so a batch scan has no use for this. Labels do not depend on the number of devices.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    try:
        jax.config.update("jax_num_cpu_devices", min(cores, MOST))
    except RuntimeError:  # JAX has its devices
        return

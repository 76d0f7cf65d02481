"""Where a row comes from: tool and package versions, device, samples, time."""

import hashlib
import platform
from datetime import UTC, datetime
from importlib import metadata

import jax
import numpy as np

from xray_jax.samples import Samples

VERSION = metadata.version("xray-jax")
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "scipy")


def samples_hash(samples: Samples) -> str:
    """First 16 hex digits of SHA-256 over images and labels."""
    total = hashlib.sha256(repr(samples.images.shape).encode())
    total.update(np.ascontiguousarray(samples.images).tobytes())
    total.update(np.ascontiguousarray(samples.labels).tobytes())
    return total.hexdigest()[:16]


def device_name(devices: tuple[jax.Device, ...]) -> str:
    """Count, kind and host architecture."""
    return f"{len(devices)} x {devices[0].device_kind} ({platform.machine()})"


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def versions() -> dict[str, str]:
    """Of the packages that numbers may depend on."""
    return {name: metadata.version(name) for name in _PACKAGES} | {"python": platform.python_version()}

"""What a row says of a checkpoint: scores, verdict, proof, provenance; and what its files are called."""

import hashlib
import platform
from importlib import metadata
from typing import Any

import jax
import numpy as np

from xray_jax.detectors.planes.scan import ScanResult
from xray_jax.detectors.probe.result import ProbeResult
from xray_jax.rows.file import Row
from xray_jax.samples import Samples
from xray_jax.verdict.decision import Decision

VERSION = metadata.version("xray-jax")
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "scipy")


def verdict_fields(judged: Decision) -> Row:
    """The verdict, its ground, and each statistic's own verdict."""
    return {
        "verdict": judged.verdict,
        "ground": judged.ground,
        "verdict_re": judged.re,
        "verdict_ats": judged.ats,
    }


def scan_fields(result: ScanResult) -> Row:
    """What the planes say."""
    return {
        "re": _statistic(result.re),
        "ats": _statistic(result.ats),
        "label_distribution": [round(float(share), 6) for share in result.distribution],
        "target_label": result.target_label,
        "clean_accuracy": result.clean_accuracy,
        "accuracy_images": result.accuracy_images,
        "queries": result.queries,
        "planes": len(result.re),
        "sampling": result.sampling,
        "stopped": result.stopped,
    }


def probe_fields(found: ProbeResult, queries: int) -> Row:
    """What the probe says, and what that changes: a proof names the target. `queries`: asked for before it."""
    row = found.row()
    fields: Row = {"probe": row, "queries": queries + found.queries}
    if row["target"] is not None:
        fields["target_label"] = row["target"]
    return fields


def file_name(checkpoint_id: str) -> str:
    """A checkpoint's id as the name of one file: separators and what some file systems refuse become "%XX"."""
    safe = "".join(c if c.isalnum() or c in "-_. " else "".join(f"%{b:02X}" for b in _bytes(c)) for c in checkpoint_id)
    if safe.startswith("."):
        safe = "%2E" + safe[1:]
    # File names end at 255 bytes on common file systems; a hash keeps long ids apart.
    if len(_bytes(safe)) <= 200:
        return safe
    return safe[:60] + "-" + hashlib.sha256(_bytes(checkpoint_id)).hexdigest()[:16]


def samples_hash(samples: Samples) -> str:
    """First 16 hex digits of SHA-256 over images and labels."""
    total = hashlib.sha256(repr(samples.images.shape).encode())
    total.update(np.ascontiguousarray(samples.images).tobytes())
    total.update(np.ascontiguousarray(samples.labels).tobytes())
    return total.hexdigest()[:16]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _statistic(values: np.ndarray) -> dict[str, Any]:
    return {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        "per_plane": [float(value) for value in values],
    }


def device_name(devices: tuple[jax.Device, ...]) -> str:
    """Count, kind and host architecture."""
    return f"{len(devices)} x {devices[0].device_kind} ({platform.machine()})"


def versions() -> dict[str, str]:
    """Of the packages that numbers may depend on."""
    return {name: metadata.version(name) for name in _PACKAGES} | {"python": platform.python_version()}

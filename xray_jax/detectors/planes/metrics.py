"""Label maps and label counts to scores: Renyi entropy, ATS, label distribution, target label (paper section 4.2).

Low scores are suspect. Functions of counts take NumPy arrays (computed in float64, what rows carry) or JAX arrays
(computed on the device in their own precision, for sweeps that need no maps).
"""

from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

Array = TypeVar("Array", np.ndarray, jax.Array)

ATS_KINDS = ("component", "label")
_EIGHT_CONNECTED = np.ones((3, 3), bool)


def _namespace(x: Any) -> Any:
    return jnp if isinstance(x, jax.Array) else np


def label_counts(labels: Array, num_classes: int) -> Array:
    """Nodes per label and plane: `[N, ...]` integer labels to `[N, num_classes]` integer counts."""
    if isinstance(labels, jax.Array):
        return _device_counts(labels, num_classes=num_classes)
    flat = np.asarray(labels).reshape(len(labels), -1).astype(np.int64)
    offset = flat + num_classes * np.arange(len(flat))[:, None]
    return np.bincount(offset.ravel(), minlength=len(flat) * num_classes).reshape(len(flat), num_classes)


@partial(jax.jit, static_argnames="num_classes")
def _device_counts(labels: jax.Array, *, num_classes: int) -> jax.Array:
    count = partial(jnp.bincount, length=num_classes)
    return jax.vmap(count)(labels.reshape(labels.shape[0], -1).astype(jnp.int32))


def label_distribution(counts: Array) -> Array:
    """Share of the nodes with each label (Eq. 2): `[..., C]` counts to `[..., C]` shares that sum to 1."""
    return counts / counts.sum(axis=-1, keepdims=True)


def renyi_entropy(counts: Array, alpha: float = 10.0) -> Array:
    """Renyi entropy of the label distribution in bits (Eq. 3): `[..., C]` counts to `[...]`, in 0 .. log2(C).

    RE = log2(sum_m p_m^alpha) / (1 - alpha); alpha = 1 is its limit, Shannon's entropy.

    >>> float(renyi_entropy(np.array([1, 1, 1, 1]), alpha=10.0))
    2.0

    Raises:
      ValueError: alpha below 1.
    """
    if not alpha >= 1:
        raise ValueError(f"alpha must be at least 1, got {alpha}")
    xp = _namespace(counts)
    shares = label_distribution(counts)
    largest = shares.max(axis=-1, keepdims=True)
    if alpha == 1:
        logs = xp.log2(xp.where(shares > 0, shares, 1.0))
        return -(shares * logs).sum(axis=-1) + 0.0
    # Relative to the largest share, so that p^alpha cannot underflow for large alpha or many classes.
    power = ((shares / largest) ** alpha).sum(axis=-1)
    return (alpha * xp.log2(largest[..., 0]) + xp.log2(power)) / (1 - alpha) + 0.0


def target_label(counts: Array) -> int:
    """The label with the largest share averaged over the planes (section 4.3): `[N, C]` counts to one label."""
    return int(label_distribution(counts).mean(axis=0).argmax())


def sample_areas(label_map: np.ndarray, nodes: np.ndarray, sample_labels: np.ndarray, kind: str) -> np.ndarray:
    """Share of the plane that each of its samples owns: float64 `[3]`, before the cap.

    Args:
      label_map: `[S, S]`. nodes: `[3, 2]`, (row, column) of the node nearest to each sample.
      sample_labels: `[3]`, ground truth.
      kind: "component": the nodes with the sample's label that are 8-connected to its own node, nothing when that
        node has another label (as the reference implementation computes it). "label": all nodes with the sample's
        label (Eq. 4 read literally).
    """
    if kind not in ATS_KINDS:
        raise ValueError(f"ATS kind must be one of {ATS_KINDS}, got {kind!r}")
    areas = np.zeros(len(nodes))
    for i, ((row, column), label) in enumerate(zip(nodes, sample_labels, strict=True)):
        own = label_map == label
        if kind == "component":
            if not own[row, column]:
                continue
            components, _ = ndimage.label(own, structure=_EIGHT_CONNECTED)
            own = components == components[row, column]
        areas[i] = np.count_nonzero(own) / label_map.size
    return areas


def ats(
    labels: np.ndarray, nodes: np.ndarray, sample_labels: np.ndarray, *, cap: float = 0.5, kind: str = "component"
) -> np.ndarray:
    """Areas dominated by triple samples (Eq. 4), per plane: float64 `[N]`, in 0 .. min(1, 3 cap).

    A sample whose area reaches `cap` (the paper's t) adds nothing: it may carry the target label.

    Args:
      labels: label maps `[N, S, S]`. nodes: `[N, 3, 2]`. sample_labels: `[N, 3]`. kind: see `sample_areas`.
    """
    areas = np.stack([sample_areas(*plane, kind) for plane in zip(labels, nodes, sample_labels, strict=True)])
    return np.where(areas < cap, areas, 0.0).sum(axis=1)

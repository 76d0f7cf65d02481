"""The meta-classifier of MNTD and its file: safetensors, read with bounds, checked before anything is computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xray_jax.checkpoints import safetensors
from xray_jax.checkpoints.contents import CheckpointError, digest

KIND = "mntd meta-classifier"
"""What the file's metadata say it is."""
MAX_BYTES = 256 << 20
"""Ten images of 224 x 224 and a thousand classes take seven million bytes."""
HOW_TO_MAKE = "xray-train-mntd makes one"


class MetaClassifierError(ValueError):
    """A file holds no meta-classifier; the message names it and says why."""


@dataclass(frozen=True)
class MetaClassifier:
    """Queries, and two dense layers over the logits that a model gives them.

    Attributes:
      queries: float32 `[Q, H, W, C]` on the [0, 1] scale of pixels, not clamped to it.
      hidden_weight: float32 `[N, Q * classes]`.
      hidden_bias: float32 `[N]`.
      output_weight: float32 `[1, N]`.
      output_bias: float32 `[1]`.
      threshold: the median score of the shadow models that it was trained on.
      training: how it was made, JSON values.
    """

    queries: np.ndarray
    hidden_weight: np.ndarray
    hidden_bias: np.ndarray
    output_weight: np.ndarray
    output_bias: np.ndarray
    threshold: float
    training: Mapping[str, Any]

    def __post_init__(self) -> None:
        arrays = self.arrays()
        for name, array in arrays.items():
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite float32 numbers, got {array.dtype}")
        if self.queries.ndim != 4 or 0 in self.queries.shape or self.queries.shape[-1] not in (1, 3):
            raise ValueError(f"queries must be [Q, H, W, 1 or 3], got {self.queries.shape}")
        shape = self.hidden_weight.shape
        if len(shape) != 2 or 0 in shape or shape[1] % len(self.queries):
            raise ValueError(f"hidden.weight of {shape} does not fit {len(self.queries)} queries")
        expected = {"hidden.bias": shape[:1], "output.weight": (1, shape[0]), "output.bias": (1,)}
        for name, wanted in expected.items():
            if arrays[name].shape != wanted:
                raise ValueError(f"{name} must be of shape {wanted}, got {arrays[name].shape}")
        if not np.isfinite(self.threshold):
            raise ValueError(f"threshold must be finite, got {self.threshold}")

    @property
    def num_classes(self) -> int:
        """Of the models that it can judge."""
        return self.hidden_weight.shape[1] // len(self.queries)

    def arrays(self) -> dict[str, np.ndarray]:
        """By their names in the file."""
        return {
            "queries": self.queries,
            "hidden.weight": self.hidden_weight,
            "hidden.bias": self.hidden_bias,
            "output.weight": self.output_weight,
            "output.bias": self.output_bias,
        }

    def digest(self) -> str:
        """Of everything that a score depends on."""
        return digest(self.arrays())

    def score(self, logits: np.ndarray) -> float:
        """The score of a model that gives the queries these logits `[Q, num_classes]`; high is suspect."""
        hidden = np.maximum(self.hidden_weight @ logits.reshape(-1) + self.hidden_bias, 0)
        return float((self.output_weight @ hidden + self.output_bias)[0])


def save(path: str | Path, meta: MetaClassifier) -> None:
    """Writes the file, whole or not at all."""
    metadata = {"kind": KIND, "threshold": meta.threshold, "training": dict(meta.training)}
    safetensors.save(path, meta.arrays(), metadata)


def load(path: str | Path) -> MetaClassifier:
    """Reads the file.

    Raises:
      MetaClassifierError: it cannot be read, is damaged, or holds something else.
    """
    path = Path(path)
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise CheckpointError(f"{size} bytes, more than {MAX_BYTES}: refused")
        with open(path, "rb") as file:
            head = file.read(16)
        if path.name.endswith(safetensors.INDEX_SUFFIX) or not safetensors.matches(path, head):
            raise CheckpointError("not a safetensors file")
        read = safetensors.read(path)
        if read.metadata.get("kind") != KIND:
            raise CheckpointError(f"its metadata do not say that it is a {KIND}")
        return _of(read.arrays, read.metadata)
    except OSError as error:
        raise MetaClassifierError(f"{path}: cannot be read: {error.strerror or error}; {HOW_TO_MAKE}") from error
    except ValueError as error:
        raise MetaClassifierError(f"{path}: {error}; {HOW_TO_MAKE}") from error


def _of(arrays: Mapping[str, Any], metadata: Mapping[str, Any]) -> MetaClassifier:
    names = {"queries", "hidden.weight", "hidden.bias", "output.weight", "output.bias"}
    if set(arrays) != names:
        raise CheckpointError(f"expected the tensors {sorted(names)}, found {sorted(arrays)[:8]}")
    threshold, training = metadata.get("threshold"), metadata.get("training")
    if not isinstance(threshold, float) or not isinstance(training, dict):
        raise CheckpointError("its metadata lack threshold and training")
    held = {name.replace(".", "_"): np.asarray(array) for name, array in arrays.items()}
    return MetaClassifier(**held, threshold=threshold, training=training)

"""Label maps with all that is needed to recompute every score from them, in memory and as a file."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from xray_jax.files import atomic_write


@dataclass(frozen=True)
class LabelMaps:
    """Label maps and all that is needed to recompute every score from them.

    Attributes:
      labels: `[N, S, S]`, row along e1, column along e2. triplets: `[N, 3]`, sample indices.
      sample_nodes: `[N, 3, 2]`, (row, column). sample_labels: `[N, 3]`, ground truth. axis1, axis2: `[N, S]`.
    """

    labels: np.ndarray
    triplets: np.ndarray
    sample_nodes: np.ndarray
    sample_labels: np.ndarray
    axis1: np.ndarray
    axis2: np.ndarray

    def save(self, path: Path) -> None:
        """Writes a compressed `.npz`, whole or not at all."""
        with atomic_write(path) as file:
            np.savez_compressed(file, **asdict(self))

    @classmethod
    def load(cls, path: Path) -> "LabelMaps":
        with np.load(path, allow_pickle=False) as archive:
            return cls(**{name: archive[name] for name in cls.__dataclass_fields__})

"""Options of the planes: the numbers of Model X-ray, and which nodes are queried."""

from dataclasses import dataclass

import numpy as np

from xray_jax.detectors.planes import metrics, sampling


@dataclass(frozen=True)
class PlanesOptions:
    """How many planes, how dense, which nodes are queried and what is computed of them; the defaults are the paper's.

    Attributes:
      planes: N, planes per model, at least 1.
      density: S, grid nodes per axis, at least 2.
      expansion: eta, how far the grid reaches beyond the samples, in extents of their bounding box on each side.
      alpha: order of the Renyi entropy, at least 1.
      ats_cap: t, the share of the plane from which a sample's area is dropped, in (0, 1].
      ats: "component" or "label" (`metrics.sample_areas`).
      seed: draws the triplets.
      sampling: "grid" queries every node, "refine" those near borders, "sketch" about 1 %.
    """

    planes: int = 20
    density: int = 100
    expansion: float = 5.0
    alpha: float = 10.0
    ats_cap: float = 0.5
    ats: str = "component"
    seed: int = 0
    sampling: str = "grid"

    def __post_init__(self) -> None:
        if self.planes < 1:
            raise ValueError(f"planes must be at least 1, got {self.planes}")
        if self.density < 2:
            raise ValueError(f"density must be at least 2, got {self.density}")
        if not (np.isfinite(self.expansion) and self.expansion >= 0):
            raise ValueError(f"expansion must be a number >= 0, got {self.expansion}")
        if not (np.isfinite(self.alpha) and self.alpha >= 1):
            raise ValueError(f"alpha must be a number >= 1, got {self.alpha}")
        if not 0 < self.ats_cap <= 1:
            raise ValueError(f"ats_cap must be in (0, 1], got {self.ats_cap}")
        if self.ats not in metrics.ATS_KINDS:
            raise ValueError(f"ats must be one of {metrics.ATS_KINDS}, got {self.ats!r}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.sampling not in sampling.SAMPLINGS:
            raise ValueError(f"sampling must be one of {sampling.SAMPLINGS}, got {self.sampling!r}")

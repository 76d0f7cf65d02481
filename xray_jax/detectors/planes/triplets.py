"""Triplets of clean samples, one for each plane."""

import numpy as np

from xray_jax.detectors.planes import geometry
from xray_jax.samples import Samples, SamplesError


def draw_triplets(samples: Samples, count: int, seed: int) -> np.ndarray:
    """`count` triplets of sample indices with three distinct labels, order of drawing kept: int64 `[count, 3]`.

    One seed gives the same triplets on any machine, and asking for more only appends. Degenerate triplets (identical
    or collinear images) are redrawn; the check is made on the pixels, so every model gets the same triplets.

    Raises:
      SamplesError: when there are fewer than three classes, or the draws run out of usable triplets.
    """
    if len(np.unique(samples.labels)) < 3:
        raise SamplesError(
            f"samples {samples.source}: planes need at least three classes, found {len(np.unique(samples.labels))}"
        )
    generator = np.random.default_rng(seed)
    drawn: list[np.ndarray] = []
    rejected: list[np.ndarray] = []
    while len(drawn) < count:
        triplet = generator.choice(len(samples), size=3, replace=False)
        if len(np.unique(samples.labels[triplet])) < 3:
            continue
        if geometry.degenerate(samples.images[None, triplet])[0]:
            rejected.append(triplet)
            if len(rejected) > 100 + 10 * count:
                raise SamplesError(
                    f"samples {samples.source}: triplets keep spanning no plane (identical or collinear images), "
                    f"for example images {rejected[-1].tolist()}; give more varied samples"
                )
            continue
        drawn.append(triplet)
    return np.stack(drawn)

"""Triplets of clean samples, one for each plane."""

import numpy as np

from xray_jax.detectors.planes import geometry
from xray_jax.samples import Samples, SamplesError

PATIENCE = 1000
"""Draws in a row without three classes after which the classes are drawn first: with two classes of one image each
beside N of a third, one draw in N^2 / 6 has three. Ten balanced classes come nowhere near."""


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
    misses = 0
    while len(drawn) < count:
        if misses < PATIENCE:
            triplet = generator.choice(len(samples), size=3, replace=False)
        else:
            triplet = _of_three_classes(samples.labels, generator)
        if len(np.unique(samples.labels[triplet])) < 3:
            misses += 1
            continue
        misses = 0
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


def _of_three_classes(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Three classes, each as likely as the others, and one sample of each: int64 `[3]`."""
    classes = generator.choice(np.unique(labels), size=3, replace=False)
    return np.asarray([generator.choice(np.flatnonzero(labels == label)) for label in classes], np.int64)

"""Planes laid through triplets of samples in one input space: where every grid node lies."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.detectors.planes import geometry
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.planes.triplets import draw_triplets
from xray_jax.inference.memory import check_room
from xray_jax.preprocess import Preprocess
from xray_jax.samples import Samples, SamplesError

COPIES = 3
"""Of the samples, in float32, when planes are built: the device's, the planes made of them, the host's."""


@dataclass(frozen=True)
class Layout:
    """Planes of one set of samples in one input space; the same for every model that shares the preprocessing.

    Attributes:
      triplets: int64 `[N, 3]`, sample indices.
      sample_labels: int32 `[N, 3]`, ground truth.
      planes: origin and axes of each plane.
      axis1: `[N, S]`, grid coordinates along e1.
      axis2: `[N, S]`, grid coordinates along e2.
      sample_nodes: int32 `[N, 3, 2]`, (row, column) of the node nearest to each sample.
    """

    triplets: np.ndarray
    sample_labels: np.ndarray
    planes: geometry.Planes
    axis1: np.ndarray
    axis2: np.ndarray
    sample_nodes: np.ndarray


def lay_planes(samples: Samples, options: PlanesOptions, preprocess: Preprocess) -> Layout:
    """The planes in the input space of `preprocess`.

    Raises:
      SamplesError: no triplets, or triplets that span no plane after the preprocessing.
      DoesNotFitError: the images of that size need more memory than there is.
    """
    triplets = draw_triplets(samples, options.planes, options.seed)
    height, width = preprocess.size or samples.images.shape[1:3]
    sample_bytes = 4 * height * width * samples.images.shape[3] * triplets.size
    check_room(COPIES * sample_bytes, f"planes through {triplets.size} images of {height} x {width} pixels")
    inputs = np.asarray(jax.jit(preprocess)(jnp.asarray(samples.images[triplets.ravel()])))
    inputs = inputs.reshape(*triplets.shape, *inputs.shape[1:])
    if geometry.degenerate(inputs).any():
        raise SamplesError(
            f"samples {samples.source}: triplets span no plane after the preprocessing {preprocess.settings()}"
        )
    built = geometry.build_planes(jnp.asarray(inputs))
    axes = geometry.grid_axes(built.corners, density=options.density, expansion=options.expansion)
    axis1, axis2 = (np.asarray(axis) for axis in axes)
    nodes = geometry.sample_nodes(np.asarray(built.corners), axis1, axis2)
    return Layout(triplets, samples.labels[triplets], built, axis1, axis2, nodes)

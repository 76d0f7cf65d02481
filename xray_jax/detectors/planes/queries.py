"""Hard labels of points of planes."""

import numpy as np

from xray_jax.classifier import Model
from xray_jax.detectors.planes import geometry
from xray_jax.detectors.planes.geometry import Planes
from xray_jax.inference.labels import label_queries
from xray_jax.inference.options import InferenceOptions


def label_points(
    model: Model, planes: Planes, plane_index: np.ndarray, coordinates: np.ndarray, options: InferenceOptions
) -> np.ndarray:
    """Labels `[Q]`, of the smallest integer type that holds the model's classes.

    Args:
      model: made ready with `inference.labels.to_device`.
      planes: as `geometry.build_planes` gives them, in the model's input space.
      plane_index: integers `[Q]`, which plane.
      coordinates: `[Q, 2]`, along e1 and e2.
      options: how queries run.

    Raises:
      LabelError: a black box returned no valid labels.
    """
    rows = (np.asarray(plane_index, np.int32), np.asarray(coordinates, np.float32))
    return label_queries(model, geometry.points, planes, rows, options)

"""Which nodes each kind of sampling queries."""

import numpy as np
import pytest

from xray_jax.detectors.planes import sampling
from xray_jax.detectors.planes.refine import run_refinement


def test_grid_queries_every_node_once() -> None:
    maps = np.random.default_rng(0).integers(0, 4, (2, 5, 5))
    refined = run_refinement(
        sampling.queries("grid", np.zeros((2, 3, 2), int), 5, seed=0), lambda nodes: maps.ravel()[nodes]
    )
    np.testing.assert_array_equal(refined.labels, maps)
    assert refined.queried.all()


def test_a_sampling_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be one of .*, got 'cascade'"):
        sampling.queries("cascade", np.zeros((2, 3, 2), int), 5, seed=0)

"""Which nodes are queried and how many planes, on batches with given scores."""

import numpy as np
import pytest

from xray_jax.detectors.planes import sampling
from xray_jax.detectors.planes.refine import run_refinement
from xray_jax.detectors.planes.sampling import Batch, sample_until_decided
from xray_jax.detectors.planes.stopping import StoppingRule

LOW, HIGH = np.linspace(0.1, 0.2, 20), np.linspace(2.0, 2.1, 20)
WIDE = np.linspace(0.0, 2.0, 20)
ONLY_RE = StoppingRule(1.0, 1.0, "re")


class Recorded:
    """Batches with given RE; ATS never settles anything."""

    def __init__(self, *re: np.ndarray) -> None:
        self.re = re
        self.asked: list[tuple[str, int]] = []

    def __call__(self, kind: str, batch: int) -> Batch:
        self.asked.append((kind, batch))
        re = self.re[batch % len(self.re)]
        return Batch(None, np.zeros((len(re), 3)), re, re, 1000 if kind == "refine" else 100)


def test_one_batch_without_a_budget() -> None:
    query = Recorded(WIDE)
    found = sample_until_decided(query, "grid", None)
    assert (found.stopped, found.queries, found.sampling, query.asked) == ("planes", 100, "grid", [("grid", 0)])


def test_batches_until_settled() -> None:
    query = Recorded(np.array([0.5, 1.4]), np.full(20, 0.6), HIGH)
    found = sample_until_decided(query, "sketch", ONLY_RE, max_queries=10_000)
    assert (found.stopped, len(found.batches), found.queries) == ("settled", 2, 200)
    assert query.asked == [("sketch", 0), ("sketch", 1)]


def test_budget_is_never_exceeded_but_for_the_first_batch() -> None:
    found = sample_until_decided(Recorded(WIDE), "sketch", ONLY_RE, max_queries=350)
    assert (found.stopped, found.queries) == ("budget", 300)
    found = sample_until_decided(Recorded(WIDE), "sketch", ONLY_RE, max_queries=50)
    assert (found.stopped, found.queries) == ("budget", 100)


def test_cascade_refines_only_what_the_sketch_leaves_open() -> None:
    found = sample_until_decided(Recorded(LOW), "cascade", ONLY_RE)
    assert (found.sampling, found.stopped, found.queries) == ("sketch", "settled", 100)
    found = sample_until_decided(query := Recorded(WIDE), "cascade", ONLY_RE)
    assert (found.sampling, found.stopped, found.queries) == ("refine", "planes", 1100)
    assert query.asked == [("sketch", 0), ("refine", 0)]


@pytest.mark.parametrize(("kind", "budget"), [("cascade", None), ("grid", 100)])
def test_stopping_early_needs_thresholds(kind: str, budget: int | None) -> None:
    with pytest.raises(ValueError, match="--calibration"):
        sample_until_decided(Recorded(WIDE), kind, None, budget)


def test_grid_queries_every_node_once() -> None:
    maps = np.random.default_rng(0).integers(0, 4, (2, 5, 5))
    refined = run_refinement(
        sampling.queries("grid", np.zeros((2, 3, 2), int), 5, seed=0), lambda nodes: maps.ravel()[nodes]
    )
    np.testing.assert_array_equal(refined.labels, maps)
    assert refined.queried.all()


def test_a_cascade_is_no_sampling_of_nodes() -> None:
    with pytest.raises(ValueError, match="grid, refine or sketch here, got 'cascade'"):
        sampling.queries("cascade", np.zeros((2, 3, 2), int), 5, seed=0)

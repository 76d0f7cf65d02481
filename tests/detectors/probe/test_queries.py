"""The resolution of stamps, their costs, and that cached costs are the right ones."""

import numpy as np
import pytest

from tests import factory
from xray_jax.detectors.probe import queries
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.stamps import FAMILIES
from xray_jax.preprocess import Preprocess

SHIFT = [family.name for family in FAMILIES].index("shift")


def _shifts(*amounts: float) -> Stamps:
    return Stamps.of(SHIFT, np.repeat(np.asarray(amounts, np.float32)[:, None], 3, axis=1))


def _grey(level: float) -> np.ndarray:
    return np.full((2, 8, 8, 3), level, np.float32)


def test_a_shift_costs_its_amount_wherever_it_is_not_clipped() -> None:
    amounts = np.linspace(0.01, 0.3, 150)  # more than two batches
    cost = queries.measure(_grey(0.5), _shifts(*amounts), _grey(0))
    for column in (cost.rms, cost.peak, cost.weighted_rms):
        np.testing.assert_allclose(column, amounts, rtol=1e-5)
    np.testing.assert_array_equal(cost.touched, 1)


def test_a_cached_cost_belongs_to_these_images_stamps_and_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    measure_all = queries._measure_all
    monkeypatch.setattr(queries, "_measured", type(queries._measured)())
    monkeypatch.setattr(queries, "_measure_all", lambda *a: measured.append(1) or measure_all(*a))
    first = queries.measure(_grey(0.5), _shifts(0.25), _grey(0))
    assert queries.measure(_grey(0.5), _shifts(0.25), _grey(0)) is first
    assert len(measured) == 1
    assert queries.measure(_grey(0.9), _shifts(0.25), _grey(0)).peak == pytest.approx(0.1)
    assert queries.measure(_grey(0.5), _shifts(0.125), _grey(0)).peak == pytest.approx(0.125)
    queries.measure(_grey(0.5), _shifts(0.25), _grey(1))
    assert len(measured) == 4


def test_the_cache_holds_no_more_than_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "_measured", type(queries._measured)())
    monkeypatch.setattr(queries, "CACHE_SIZE", 2)
    for amount in (0.1, 0.2, 0.1, 0.3):  # 0.1 is used again, so 0.2 is the oldest
        queries.measure(_grey(0.5), _shifts(amount), _grey(0))
    peaks = sorted(float(cost.peak[0]) for cost in queries._measured.values())
    assert peaks == pytest.approx([0.1, 0.3])


def test_stamps_are_put_on_at_the_resolution_that_the_network_sees() -> None:
    samples, smaller = factory.tiny_samples(20, side=16), Preprocess(size=(8, 8))
    assert queries.resized(samples, smaller).images.shape == (20, 8, 8, 3)
    seen = np.asarray(smaller(queries.resized(samples, smaller).images))
    np.testing.assert_allclose(seen, smaller(samples.images), atol=1e-6)
    for size in (None, (16, 16), (32, 32), (8, 32)):
        assert queries.resized(samples, Preprocess(size=size)) is samples

"""AUROC against scikit-learn, intervals against what is known of them."""

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from xray_jax.verdict.auroc import auroc, roc


@pytest.mark.parametrize("seed", range(5))
def test_value_is_sklearns_with_ties(seed: int) -> None:
    generator = np.random.default_rng(seed)
    backdoored, clean = generator.integers(0, 6, 13) / 5, generator.integers(2, 8, 7) / 5
    truth = np.r_[np.ones(13), np.zeros(7)]
    found = auroc(backdoored.tolist(), clean.tolist())
    assert found is not None
    assert found.value == pytest.approx(roc_auc_score(truth, -np.r_[backdoored, clean]))
    assert found.low <= found.value <= found.high
    assert (found.backdoored, found.clean) == (13, 7)
    false, true = roc(backdoored.tolist(), clean.tolist())
    expected_false, expected_true, _ = roc_curve(truth, -np.r_[backdoored, clean], drop_intermediate=False)
    np.testing.assert_allclose(false, expected_false)
    np.testing.assert_allclose(true, expected_true)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Two normals one deviation apart: the true AUROC is Phi(1 / sqrt 2) = 0.760."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        found = auroc(generator.normal(-1, 1, 30).tolist(), generator.normal(0, 1, 30).tolist(), resamples=400)
        assert found is not None
        covered += found.low <= 0.760 <= found.high
    assert 86 <= covered <= 100


def test_extremes() -> None:
    perfect = auroc([0, 0.1], [1, 2, 3])
    assert perfect is not None
    assert (perfect.value, perfect.low, perfect.high) == (1, 1, 1)
    assert str(perfect) == "1.000 (2 against 3 models)"
    assert str(auroc([0, 0.1, 0.2], [1, 2, 3])) == "1.000 [1.000, 1.000]"
    assert auroc([], [1.0]) is None
    assert auroc([1.0], []) is None
    same = auroc([1.0, 1.0], [1.0])
    assert same is not None
    assert same.value == 0.5


def slow_interval(wins: np.ndarray, resamples: int) -> list[float]:
    """Every pair of every draw looked up, one draw at a time."""
    generator = np.random.default_rng(0)
    rows = generator.integers(0, wins.shape[0], (resamples, wins.shape[0]))
    columns = generator.integers(0, wins.shape[1], (resamples, wins.shape[1]))
    drawn = [wins[np.ix_(own, theirs)].mean() for own, theirs in zip(rows, columns, strict=True)]
    return np.percentile(drawn, [2.5, 97.5]).tolist()


@pytest.mark.parametrize(("backdoored", "clean"), [(3, 19), (40, 7), (1, 1)])
def test_the_interval_is_that_of_all_pairs_of_all_draws(backdoored: int, clean: int) -> None:
    generator = np.random.default_rng(1)
    low, high = generator.integers(0, 9, backdoored), generator.integers(3, 12, clean)
    found = auroc(low.tolist(), high.tolist(), resamples=300)
    assert found is not None
    wins = (low[:, None] < high) + 0.5 * (low[:, None] == high)
    assert [found.low, found.high] == slow_interval(wins, 300)


def test_memory_grows_with_the_models_not_with_their_product() -> None:
    """Of 100 and 100 models all pairs of all draws are 160 MB, of twice as many four times that."""
    generator = np.random.default_rng(0)
    peaks = []
    for models in (100, 200):
        tracemalloc.start()
        auroc(generator.normal(-1, 1, models).tolist(), generator.normal(0, 1, models).tolist())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 20e6
    assert peaks[1] < 2.5 * peaks[0]

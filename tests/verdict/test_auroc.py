"""AUROC against scikit-learn, intervals against what is known of them."""

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

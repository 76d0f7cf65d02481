"""When the planes so far settle a verdict, against scipy and by trial."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from xray_jax.detectors.planes.stopping import SKETCH_MARGIN, StoppingRule, interval

LOW, HIGH = np.linspace(0.1, 0.2, 20), np.linspace(2.0, 2.1, 20)
WIDE = np.linspace(0.0, 2.0, 20)


def test_interval_is_students() -> None:
    scores = np.random.default_rng(0).normal(3, 2, 15)
    result = stats.ttest_1samp(scores, 0).confidence_interval(0.9)
    np.testing.assert_allclose(interval(scores, 0.9), (result.low, result.high))
    assert interval(scores[:1]) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("rule", "re", "ats", "settled"),
    [
        ("either", LOW, WIDE, True),
        ("either", WIDE, LOW, True),
        ("either", HIGH, HIGH, True),
        ("either", HIGH, WIDE, False),
        ("both", LOW, LOW, True),
        ("both", LOW, WIDE, False),
        ("both", HIGH, WIDE, True),
        ("re", LOW, WIDE, True),
        ("re", WIDE, LOW, False),
        ("ats", WIDE, HIGH, True),
        ("ats", LOW, WIDE, False),
    ],
)
def test_settled_follows_the_rule(rule: str, re: np.ndarray, ats: np.ndarray, settled: bool) -> None:
    assert StoppingRule(1.0, 1.0, rule).settled(re, ats) is settled


def test_later_looks_and_sketches_ask_for_more() -> None:
    scores = np.random.default_rng(1).normal(0, 1, 30)
    looks = [interval(scores, 1 - 0.05 / (look * (look + 1)))[0] for look in (1, 2, 3)]
    for look in (1, 2, 3):
        assert StoppingRule(looks[look - 1] - 1e-9, 0.0, "re").settled(scores, scores, look=look)
        assert not StoppingRule(looks[look - 1] - 1e-9, 0.0, "re").settled(scores, scores, look=look + 1)
    near = StoppingRule(looks[0] - 0.5 * SKETCH_MARGIN["re"], 0.0, "re")
    assert near.settled(scores, scores)
    assert not near.settled(scores, scores, sketched=True)


def test_repeated_looks_keep_the_promised_error() -> None:
    """True mean 0, threshold just under it: settling as flagged is the error, 5 % at most in all looks together."""
    generator = np.random.default_rng(2)
    rule = StoppingRule(re_threshold=-1e-6, ats_threshold=0.0, rule="re")
    wrong = 0
    for _ in range(400):
        scores = generator.normal(0, 1, 200)
        for look in range(1, 11):
            seen = scores[: 20 * look]
            if rule.settled(seen, seen, look=look):
                wrong += seen.mean() <= rule.re_threshold
                break
    # 20 expected at most; 31 is its 99 % quantile.
    assert wrong <= 31


@pytest.mark.parametrize("bad", [{"rule": "none"}, {"confidence": 1.0}])
def test_a_rule_checks_itself(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        StoppingRule(1.0, 1.0, **bad)

"""Findings and the rule that confirms one, against a slow restatement; their JSON form."""

import dataclasses
import json

import numpy as np
import pytest

from tests.detectors.probe.fakes import FINDING
from xray_jax.detectors.probe.null import LEVELS, Null, level
from xray_jax.detectors.probe.result import Finding, ProbeResult, Verdict, from_row, judge


def slow_reasons_against(finding: Finding, null: Null) -> list[str]:
    """Everything that keeps a finding from being a confirmed trigger, in words."""
    at = int(level(finding.weighted_rms))
    ceiling = null.ceilings.get(finding.family, [1.0] * LEVELS)[at]
    lead = null.leads.get(finding.family, [1.0] * LEVELS)[at]
    against = []
    if finding.kind == "source-specific":
        against.append("source-specific")
    if finding.lower < (0.8 if len(finding.target_labels) < 5 else 0.5):
        against.append("flips too few images")
    if finding.runner_up >= 0.5:
        against.append("a fragile model")
    if finding.lower < finding.runner_up + 0.2:
        against.append("too near the runner-up")
    if finding.lower < ceiling + 0.15 and finding.lower - finding.runner_up < lead + 0.15:
        against.append("clean models do the same")
    return against


def test_a_finding_is_confirmed_where_nothing_speaks_against_it() -> None:
    generator = np.random.default_rng(0)
    seen = set()
    for _ in range(2000):
        ceilings, leads = ({"patch": tuple(np.sort(generator.random(LEVELS)).tolist())} for _ in range(2))
        null = Null(ceilings, leads if generator.random() < 0.8 else {}, models=3)
        finding = dataclasses.replace(
            FINDING,
            kind=str(generator.choice(["all-to-one", "all-to-all", "source-specific"], p=[0.6, 0.3, 0.1])),
            family=str(generator.choice(["patch", "warp"], p=[0.95, 0.05])),
            target_labels=(0,) * int(generator.integers(2, 8)),
            hits=int(generator.integers(0, 161) ** 0.5 * 160**0.5),
            trials=160,
            weighted_rms=float(generator.uniform(0, 0.3)),
            runner_up=float(generator.uniform(0, 1) ** 3),
        )
        against = slow_reasons_against(finding, null)
        assert finding.is_confirmed(null) == (against == []), against
        verdict, _, best = judge([finding], null, 5, 0.9)
        assert (verdict is Verdict.CONFIRMED) == (against == [])
        assert (best is None) == ("source-specific" in against)
        seen.add(tuple(against) if len(against) < 2 else ())
    assert len(seen) == 6, "nothing, and each reason by itself, occurs"


def test_the_verdict_rests_on_the_finding_furthest_above_its_threshold() -> None:
    null = Null({"patch": (0.2,) * LEVELS, "warp": (0.7,) * LEVELS}, models=3)
    strong = dataclasses.replace(FINDING, family="warp", hits=150, trials=150)
    weaker = dataclasses.replace(FINDING, hits=140, trials=150)
    paired = dataclasses.replace(FINDING, kind="source-specific", hits=150, trials=150)
    verdict, reason, best = judge([strong, weaker, paired], null, 5, 0.9)
    assert (verdict, best) == (Verdict.CONFIRMED, weaker)
    assert reason == "2x2 solid white patch: sends 140 of 150 unseen images to label 0"
    cheap = dataclasses.replace(weaker, weighted_rms=0.01)
    assert judge([weaker, cheap], null, 5, 0.9)[2] is cheap, "of equals the one of lower cost"
    shift = dataclasses.replace(weaker, kind="all-to-all", target_labels=(1, 2, 3, 4, 0))
    assert judge([shift], null, 5, 0.9)[1].endswith("to another label each")


def test_a_row_holds_the_finding_under_the_fields_words() -> None:
    row = json.loads(json.dumps(FINDING.row(), allow_nan=False))
    assert list(row) == [
        "kind", "target", "target_labels", "family", "parameters", "description", "hits", "trials", "rate", "interval",
        "cost", "anomaly_index", "runner_up",
    ]  # fmt: skip
    assert list(row["cost"]) == ["touched", "rms", "peak", "weighted_rms"]
    assert (row["target"], row["target_labels"], row["rate"]) == (0, [-1, 0, 0, 0, 0], 1)
    assert from_row(row) == dataclasses.replace(FINDING, parameters=row["parameters"])


def test_a_result_row_lists_the_findings_over_half_and_what_they_need() -> None:
    null = Null({"patch": (0.2,) * LEVELS}, models=3, source="mine")
    weak = dataclasses.replace(FINDING, hits=15, family="line")
    result = ProbeResult(Verdict.CONFIRMED, "why", 0.9, 1234, 40, (FINDING, weak), {"patch": [1.0]}, FINDING, null)
    row = result.row()
    assert (row["verdict"], row["kind"], row["target"]) == ("confirmed", "all-to-one", 0)
    assert row["candidates"] == [FINDING.row() | {"threshold": FINDING.threshold(null)}]
    assert (row["score"], row["threshold"]) == (FINDING.lower, FINDING.threshold(null))
    assert row["margin"] == pytest.approx(row["score"] - row["threshold"])
    assert row["null"] == {"source": "mine", "models": 3}
    # A label is only said where a trigger is confirmed.
    told = dataclasses.replace(result, verdict=Verdict.NOTHING).row()
    assert (told["verdict"], told["kind"], told["target"]) == ("nothing found", None, None)
    empty = ProbeResult(Verdict.UNKNOWN, "why", 0.1, 10, 40).row()
    assert [empty[key] for key in ("best", "score", "threshold", "margin", "candidates")] == [None] * 4 + [[]]


def test_a_broken_row_is_refused() -> None:
    row = FINDING.row()
    del row["target_labels"]
    with pytest.raises(ValueError, match="target_labels"):
        from_row(row)


def test_judge_needs_rate_ceiling_and_lead() -> None:
    null = Null({"patch": (0.2,) * LEVELS}, models=3)
    assert judge([FINDING], null, 5, 0.9)[0] is Verdict.CONFIRMED
    assert judge([FINDING], Null({"patch": (0.9,) * LEVELS}, models=3), 5, 0.9)[0] is Verdict.NOTHING
    assert judge([dataclasses.replace(FINDING, runner_up=0.8)], null, 5, 0.9)[0] is Verdict.NOTHING
    assert judge([dataclasses.replace(FINDING, runner_up=0.45)], null, 5, 0.9)[0] is Verdict.CONFIRMED
    assert judge([dataclasses.replace(FINDING, runner_up=0.5)], null, 5, 0.9)[0] is Verdict.NOTHING, "a fragile model"
    assert judge([dataclasses.replace(FINDING, hits=18)], null, 5, 0.9)[0] is Verdict.NOTHING
    assert judge([FINDING], Null(), 5, 0.9)[0] is Verdict.NOTHING, "a family without a null is never confirmed"
    assert judge([dataclasses.replace(FINDING, kind="source-specific")], null, 5, 0.9)[0] is Verdict.NOTHING
    assert judge([], null, 5, 0.1)[0] is Verdict.UNKNOWN
    two = dataclasses.replace(FINDING, target_labels=(-1, 0), hits=25)
    assert judge([two], null, 2, 0.9)[0] is Verdict.NOTHING


def test_a_lead_that_no_clean_model_has_confirms_a_trigger_whose_rate_does_not() -> None:
    null = Null({"patch": (0.95,) * LEVELS}, {"patch": (0.4,) * LEVELS}, 3)
    alone = dataclasses.replace(FINDING, runner_up=0.1)
    assert alone.threshold(null) == pytest.approx(0.1 + 0.4 + 0.15)
    assert alone.is_confirmed(null)
    assert not dataclasses.replace(alone, runner_up=0.4).is_confirmed(null), "clean models lead by as much"
    assert not alone.is_confirmed(Null(null.ceilings, {"patch": (0.7,) * LEVELS}, 3))
    assert not alone.is_confirmed(Null(null.ceilings, models=3)), "a null that says no leads"
    assert not alone.is_confirmed(Null(null.ceilings, {"warp": (0.1,) * LEVELS}, 3)), "nothing known of this family"
    # The rate remains a way: a clean model's lead may be large where rates are small.
    assert alone.is_confirmed(Null({"patch": (0.5,) * LEVELS}, {"patch": (0.9,) * LEVELS}, 3))

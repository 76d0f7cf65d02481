"""The likely target of a row is that of what the verdict rests on."""

from typing import Any, cast

import pytest

from tests.verdict.test_decision import PAPER, model
from xray_jax.detectors.detection import Detection, Statistic
from xray_jax.detectors.probe.result import ProbeResult, Verdict
from xray_jax.detectors.run import ScannedModel
from xray_jax.rows.row import ComparisonFields
from xray_jax.sweep import fields
from xray_jax.verdict.decision import decide


def found(name: str, target: int | None, *statistics: Statistic, evidence: Any = None) -> Detection:
    return Detection(name, statistics, target, 1, {}, {}, evidence)


def planes(re: float) -> Detection:
    return found("planes", 7, Statistic("re", re, "low"), Statistic("ats", 0.5, "low"))


def probe(verdict: Verdict, target: int | None = None) -> Detection:
    return found("probe", target, evidence=ProbeResult(verdict, "because", 0.9, 1000, 50))


BASELINE = found("neural_cleanse", 9)


def standing(label: int | None, p_value: float = 0.01) -> ComparisonFields:
    return ComparisonFields(
        p_value=p_value, fpr=0.05, models=99, source="", standout={}, leading="x.y", label=label, reason=None
    )


def row_of(*detections: Detection, comparison: ComparisonFields | None = None) -> dict[str, Any]:
    row: Any = {"notes": [], "not_run": {}, "comparison": comparison}
    scanned = ScannedModel(model(), {each.detector: each for each in detections}, {})
    fields.fill_detections(row, scanned)
    fields.fill_verdict(row, decide(model(), scanned.detections, PAPER, comparison=comparison))
    return cast(dict[str, Any], row)


@pytest.mark.parametrize("target", [3, None], ids=["one label", "all-to-all"])
def test_a_confirmed_triggers_own_target_whatever_others_say_and_in_any_order(target: int | None) -> None:
    confirmed = probe(Verdict.CONFIRMED, target)
    for detections in ((planes(0.5), confirmed), (confirmed, planes(0.5)), (planes(2.0), confirmed, BASELINE)):
        for comparison in (None, standing(4)):
            row = row_of(*detections, comparison=comparison)
            assert (row["basis"], row["target_label"]) == ("confirmed trigger", target)


@pytest.mark.parametrize("detections", [(planes(0.5),), (planes(0.5), BASELINE), (BASELINE, planes(0.5))])
def test_that_of_the_planes_where_they_flag(detections: tuple[Detection, ...]) -> None:
    row = row_of(*detections)
    assert (row["basis"], row["target_label"]) == ("planes", 7)
    row = row_of(*detections, probe(Verdict.NOTHING))
    assert (row["basis"], row["target_label"]) == ("planes, no working stamp found", 7)


def test_the_class_that_stands_out_and_else_the_last_word() -> None:
    detections = (planes(2.0), probe(Verdict.NOTHING), BASELINE)
    assert row_of(*detections, comparison=standing(4))["target_label"] == 4
    assert row_of(*detections, comparison=standing(None))["target_label"] == 9
    assert row_of(*detections)["basis"] == "clean so far"
    assert row_of(*detections)["target_label"] == 9

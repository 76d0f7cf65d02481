"""From what the detectors found to one verdict."""

from typing import Any

import numpy as np
import pytest

from xray_jax.classifier import BlackBox
from xray_jax.detectors.detection import Detection, Statistic
from xray_jax.detectors.probe.result import ProbeResult, Verdict
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import PreparedModel
from xray_jax.prepare.choice import PreprocessChoice
from xray_jax.rows.row import BACKDOORED, CLEAN, SUSPECT, UNKNOWN, VERDICTS, ComparisonFields
from xray_jax.verdict.calibration import load_calibration
from xray_jax.verdict.decision import Decision, decide

PAPER = load_calibration("paper:cifar10")


def model(accuracy: float = 0.9, constant: bool = False, doubt: str | None = None) -> PreparedModel:
    """A model of ten classes, made ready."""
    asked = BlackBox(lambda images: np.zeros(len(images), int), 10, (8, 8, 3))
    choice = None if doubt is None else PreprocessChoice("0-1", accuracy, 9, 100, "+-1", accuracy, doubt)
    return PreparedModel(asked, InferenceOptions(), accuracy, 100, constant, choice, 100, 0.0)


def planes(re: float | None, ats: float | None) -> dict[str, Detection]:
    statistics = (Statistic("re", re, "low"), Statistic("ats", ats, "low"))
    return {"planes": Detection("planes", statistics, 9, 1, {}, {})}


def probe(verdict: Verdict) -> dict[str, Detection]:
    found = ProbeResult(verdict, "because", 0.9, 1000, 50)
    return {"probe": Detection("probe", (), None, 1000, {}, {}, found)}


@pytest.mark.parametrize(
    ("re", "ats", "rule", "verdict"),
    [
        (0.5, 0.3, "either", BACKDOORED),
        (0.5, 0.3, "both", CLEAN),
        (0.5, 0.3, "re", BACKDOORED),
        (0.5, 0.3, "ats", CLEAN),
        (1.0, 0.1, "either", BACKDOORED),
        (1.0, 0.1, "re", CLEAN),
        (0.873, 0.184, "both", BACKDOORED),
        (1.0, 0.3, "either", CLEAN),
    ],
)
def test_rules(re: float, ats: float, rule: str, verdict: str) -> None:
    judged = decide(model(), planes(re, ats), PAPER, rule)
    assert (judged.verdict, judged.basis) == (verdict, "planes")
    assert (judged.re, judged.ats) == tuple(
        BACKDOORED if low else CLEAN for low in (re <= PAPER.re_threshold, ats <= PAPER.ats_threshold)
    )


def test_planes_without_answers_give_no_verdict_where_they_were_to_be_judged() -> None:
    silent = planes(None, None)
    for found in (silent, silent | probe(Verdict.UNKNOWN), silent | probe(Verdict.NOTHING)):
        judged = decide(model(), found, PAPER)
        assert judged == Decision(UNKNOWN, "the model gives no finite logits on the planes")
    assert decide(model(), silent | probe(Verdict.CONFIRMED), PAPER).verdict == BACKDOORED
    assert decide(model(), silent, None).basis == "not calibrated"


@pytest.mark.parametrize("found", list(Verdict))
def test_planes_without_answers_change_nothing_where_planes_have_no_say(found: Verdict) -> None:
    """Without thresholds, and beside references, which planes are not compared with: as docs/verdicts.md has it."""
    silent = planes(None, None) | probe(found)
    compared = ComparisonFields(
        p_value=0.5, fpr=0.05, models=19, source="", standout={}, leading=None, label=None, reason=None
    )
    assert decide(model(), silent, None) == decide(model(), probe(found), None)
    judged = decide(model(), silent, PAPER, comparison=compared)
    expected = decide(model(), probe(found), None, comparison=compared)
    assert (judged.verdict, judged.basis) == (expected.verdict, expected.basis)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"decide must be one of .*'maybe'"):
        decide(model(), planes(1.0, 0.3), PAPER, "maybe")


def test_what_cannot_be_judged_is_never_clean() -> None:
    assert decide(model(), planes(2.0, 0.5), None) == Decision(UNKNOWN, "not calibrated", UNKNOWN, UNKNOWN)
    near = decide(model(accuracy=0.15), planes(2.0, 0.5), PAPER)
    assert (near.verdict, near.basis, near.re) == (UNKNOWN, "suspect_preprocessing", CLEAN)
    constant = decide(model(accuracy=0.1, constant=True), planes(0.0, 0.0), PAPER)
    assert (constant.verdict, constant.basis) == (UNKNOWN, "constant_output")
    doubtful = decide(model(doubt="two presets fit"), planes(2.0, 0.5), PAPER)
    assert (doubtful.verdict, doubtful.basis) == (UNKNOWN, "suspect_preprocessing")
    assert decide(model(), {}, PAPER) == Decision(UNKNOWN, "planes did not run")


@pytest.mark.parametrize(
    ("re", "found", "verdict", "basis"),
    [
        (2.0, Verdict.CONFIRMED, BACKDOORED, "confirmed trigger"),
        (0.5, Verdict.CONFIRMED, BACKDOORED, "confirmed trigger"),
        (0.5, Verdict.NOTHING, SUSPECT, "planes, no working stamp found"),
        (0.5, Verdict.UNKNOWN, SUSPECT, "planes, no working stamp found"),
        (2.0, Verdict.NOTHING, CLEAN, "clean so far"),
        (2.0, Verdict.UNKNOWN, UNKNOWN, "because"),
    ],
)
def test_planes_and_probe_together(re: float, found: Verdict, verdict: str, basis: str) -> None:
    judged = decide(model(), planes(re, 0.5) | probe(found), PAPER)
    assert (judged.verdict, judged.basis) == (verdict, basis)
    assert judged.re == (BACKDOORED if re <= PAPER.re_threshold else CLEAN)
    assert judged.verdict in VERDICTS


@pytest.mark.parametrize(
    ("found", "verdict", "basis"),
    [
        (Verdict.CONFIRMED, BACKDOORED, "confirmed trigger"),
        (Verdict.NOTHING, CLEAN, "clean so far"),
        (Verdict.UNKNOWN, UNKNOWN, "because"),
    ],
)
def test_the_probe_alone(found: Verdict, verdict: str, basis: str) -> None:
    assert decide(model(), probe(found), None) == Decision(verdict, basis, UNKNOWN, UNKNOWN)


def test_a_detector_of_another_package_changes_no_verdict() -> None:
    other: dict[str, Any] = {"other": Detection("other", (Statistic("x", 0.0, "low"),), 3, 1, {}, {})}
    assert decide(model(), planes(0.5, 0.5) | other, PAPER) == decide(model(), planes(0.5, 0.5), PAPER)
    assert decide(model(), other, PAPER).verdict == UNKNOWN


@pytest.mark.parametrize("doubted", [{"accuracy": 0.15}, {"doubt": "two presets fit"}])
def test_doubts_about_the_input_come_before_a_confirmed_trigger(doubted: dict[str, Any]) -> None:
    for found in (planes(2.0, 0.5) | probe(Verdict.CONFIRMED), probe(Verdict.CONFIRMED)):
        judged = decide(model(**doubted), found, PAPER)
        assert (judged.verdict, judged.basis) == (UNKNOWN, "suspect_preprocessing")

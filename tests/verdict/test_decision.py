import dataclasses
import json

import numpy as np
import pytest

from xray_jax.detectors.planes.scan import PlanesOptions, ScanResult
from xray_jax.detectors.probe.result import ProbeResult, Verdict
from xray_jax.verdict import decision
from xray_jax.verdict.decision import CalibrationError, decide

PAPER = decision.load_calibration("paper:cifar10")


def result(re, ats, accuracy=0.9, constant=False):
    counts = np.tile(np.arange(1, 11), (2, 1))
    maps = None
    return ScanResult(np.array([re, re]), np.array([ats, ats]), counts, accuracy, 100, constant, 1, maps)


@pytest.mark.parametrize(
    ("re", "ats", "rule", "verdict"),
    [
        (0.5, 0.3, "either", "backdoored"),
        (0.5, 0.3, "both", "clean"),
        (0.5, 0.3, "re", "backdoored"),
        (0.5, 0.3, "ats", "clean"),
        (1.0, 0.1, "either", "backdoored"),
        (1.0, 0.1, "re", "clean"),
        (0.873, 0.184, "both", "backdoored"),
        (1.0, 0.3, "either", "clean"),
    ],
)
def test_rules(re, ats, rule, verdict):
    judged = decide(result(re, ats), PAPER, rule)
    assert judged.verdict == verdict
    assert (judged.re, judged.ats) == tuple(
        "backdoored" if low else "clean" for low in (re <= PAPER.re_threshold, ats <= PAPER.ats_threshold)
    )


def test_what_cannot_be_judged_is_never_clean():
    assert decide(result(2.0, 0.5), None) == decision.Decision("unknown", "not calibrated", "unknown", "unknown")
    near = decide(result(2.0, 0.5, accuracy=0.15), PAPER)
    assert (near.verdict, near.ground, near.re) == ("unknown", "suspect_preprocessing", "clean")
    assert decide(result(0.0, 0.0, accuracy=0.1, constant=True), PAPER).ground == "constant_output"


def test_paper_presets():
    thresholds = {name: (c.re_threshold, c.ats_threshold) for name, c in decision.PAPER_CALIBRATIONS.items()}
    assert thresholds == {"cifar10": (0.873, 0.184), "gtsrb": (2.040, 0.134), "cifar100": (1.194, 0.040)}
    with pytest.raises(CalibrationError, match="no thresholds for 'mnist'"):
        decision.load_calibration("paper:mnist")


@pytest.mark.parametrize("changed", [{"expansion": 1.0}, {"alpha": 2.0}, {"ats_cap": 0.4}, {"ats": "label"}])
def test_calibrations_of_other_scores_are_refused(changed):
    with pytest.raises(CalibrationError, match=next(iter(changed))):
        decision.check(PAPER, dataclasses.replace(PlanesOptions(), **changed))


def test_other_planes_and_density_are_noted():
    assert decision.check(PAPER, PlanesOptions()) == ()
    notes = decision.check(PAPER, PlanesOptions(planes=5, density=50))
    assert notes == ("calibrated with planes=20, scanned with 5", "calibrated with density=100, scanned with 50")


def test_calibration_files(tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(dataclasses.asdict(PAPER)))
    assert decision.load_calibration(str(path)) == PAPER
    for content in ("[]", "{", '{"re_threshold": 1}', json.dumps({**dataclasses.asdict(PAPER), "re_threshold": "x"})):
        path.write_text(content)
        with pytest.raises(CalibrationError, match="calibration"):
            decision.load_calibration(str(path))
    with pytest.raises(CalibrationError, match="cannot be read"):
        decision.load_calibration(str(tmp_path / "none.json"))


def test_summary_measures_scores_against_the_truth():
    def row(re, ats, verdict, label, status="ok"):
        return {"status": status, "verdict": verdict, "label": label, "re": {"mean": re}, "ats": {"mean": ats}}

    rows = [
        row(0.1, 0.3, "backdoored", "backdoored"),
        row(0.2, 0.1, "clean", "backdoored"),
        row(1.0, 0.2, "clean", "clean"),
        row(0.15, 0.4, "unknown", "clean"),
        {"status": "error", "verdict": None, "label": "clean"},
        {"status": "skipped", "verdict": None},
    ]
    summary = decision.summarise(rows)
    assert (summary.ok, summary.errors, summary.skipped, summary.flagged) == (4, 1, 1, 1)
    assert summary.auroc_re == 3 / 4
    assert summary.auroc_ats == 3 / 4
    assert (summary.accuracy, summary.judged) == (2 / 3, 3)
    assert decision.summarise(rows[:2]).auroc_re is None


def probed(verdict):
    return ProbeResult(verdict, "because", 0.9, 1000, 50)


@pytest.mark.parametrize(
    ("re", "found", "verdict", "ground"),
    [
        (2.0, Verdict.CONFIRMED, "backdoored", "proved"),
        (0.5, Verdict.CONFIRMED, "backdoored", "proved"),
        (0.5, Verdict.NOTHING, "suspect", "planes, no working stamp found"),
        (0.5, Verdict.UNKNOWN, "suspect", "planes, no working stamp found"),
        (2.0, Verdict.NOTHING, "clean", "clean so far"),
        (2.0, Verdict.UNKNOWN, "unknown", "because"),
    ],
)
def test_planes_and_probe_together(re, found, verdict, ground):
    judged = decision.conclude(result(re, 0.5), probed(found), PAPER)
    assert (judged.verdict, judged.ground) == (verdict, ground)
    assert judged.re == ("backdoored" if re <= PAPER.re_threshold else "clean")


def test_the_probe_alone_and_the_planes_alone():
    assert decision.conclude(None, probed(Verdict.CONFIRMED), None).verdict == "backdoored"
    assert decision.conclude(None, probed(Verdict.NOTHING), None).ground == "clean so far"
    assert decision.conclude(result(0.5, 0.5), None, PAPER) == decide(result(0.5, 0.5), PAPER)


def test_doubts_about_the_input_come_before_a_proof():
    doubtful = decision.conclude(result(2.0, 0.5, accuracy=0.15), probed(Verdict.CONFIRMED), PAPER)
    assert (doubtful.verdict, doubtful.ground) == ("unknown", "suspect_preprocessing")

"""A batch scan in numbers."""

from typing import Any

import pytest

from tests.rows import rows
from tests.schema import check
from xray_jax.verdict.summary import summarise


def row(re: float, ats: float, verdict: str, label: str, **probe: Any) -> Any:
    found = {"planes": rows.planes(re, ats)} | ({"probe": rows.probe(**probe)} if probe else {})
    return check(rows.full_row(verdict=verdict, label=label, detectors=found))


def test_scores_and_verdicts_against_the_truth() -> None:
    scanned = [
        row(0.1, 0.3, "backdoored", "backdoored"),
        row(0.2, 0.1, "clean", "backdoored"),
        row(1.0, 0.2, "clean", "clean"),
        row(0.15, 0.4, "unknown", "clean"),
        rows.error_row(label="clean"),
        rows.error_row(status="skipped"),
    ]
    summary = summarise(scanned)
    assert (summary.ok, summary.errors, summary.skipped, summary.flagged) == (4, 1, 1, 1)
    assert summary.auroc_re == 3 / 4
    assert summary.auroc_ats == 3 / 4
    assert summary.auroc_probe is None
    assert (summary.accuracy, summary.judged) == (2 / 3, 3)
    assert summarise(scanned[:2]).auroc_re is None


def test_suspect_is_flagged_and_errors_never_are() -> None:
    suspect = check(rows.full_row(verdict="suspect", basis="planes, no working stamp found", label="backdoored"))
    summary = summarise([suspect, rows.error_row(label="backdoored")])
    assert (summary.flagged, summary.judged, summary.accuracy) == (1, 1, 1.0)


def test_the_probes_margin_is_a_score_and_nothing_found_is_the_least() -> None:
    nothing = {"score": None, "threshold": None, "margin": None, "best": None}
    scanned = [
        row(1.0, 0.5, "backdoored", "backdoored", score=0.9, threshold=0.5),
        row(1.0, 0.5, "clean", "backdoored", **nothing),
        row(1.0, 0.5, "clean", "clean", score=0.3, threshold=0.5),
        row(1.0, 0.5, "clean", "clean", score=0.3, threshold=1.2),
    ]
    assert summarise(scanned).auroc_probe == pytest.approx(0.5)
    without = check(rows.full_row(label="clean", detectors={"probe": rows.probe()}))
    assert summarise([*scanned, without]).auroc_re == pytest.approx(0.5)


@pytest.mark.parametrize("basis", ["constant_output", "suspect_preprocessing"])
def test_a_row_that_concludes_nothing_has_no_part_in_an_auroc(basis: str) -> None:
    scanned = [row(1.0 + k, 0.5, "clean", "clean", score=0.3, threshold=0.5) for k in range(3)]
    doubtful = row(0.0, 0.0, "unknown", "backdoored", score=0.9, threshold=0.5) | {"basis": basis}
    summary = summarise([*scanned, doubtful])
    assert (summary.auroc_re, summary.auroc_ats, summary.auroc_probe, summary.judged) == (None, None, None, 3)

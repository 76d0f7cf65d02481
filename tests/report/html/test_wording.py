"""Whether to deploy, in words: nothing is glossed over."""

import pytest

from tests.report import rows
from xray_jax.report.html.wording import advice


@pytest.mark.parametrize("name", ["verdict_re", "verdict_ats"])
def test_a_score_under_its_threshold_is_not_nothing(name: str) -> None:
    assert advice(rows.row()).startswith("Nothing that was tried speaks against deploying this model.")
    said = advice(rows.row() | {name: "backdoored"})
    assert "a score that the rule does not count is not above its threshold" in said


def test_numbers_that_nothing_was_compared_with_are_not_nothing() -> None:
    row = rows.row()
    row["detectors"] = {**row["detectors"], "margin": {}, "panel": {}}
    said = advice(row)
    assert said.startswith("No working trigger was found. What panel and margin measured was not judged")
    assert "--references" in said

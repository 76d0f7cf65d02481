"""In what precision references keep numbers: models that differ must be told apart, whatever the numbers' size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.verdict.test_references import row
from xray_jax.verdict.calibration import CalibrationError
from xray_jax.verdict.comparison import compare
from xray_jax.verdict.references import References, from_rows, load


def measured(number: int, value: float) -> Any:
    """A row of a detector of one's own, with one number."""
    block = {"statistics": [{"name": "s", "value": value, "suspect": "high"}], "target": None, "queries": 1}
    made = row(number, detectors={"mine": block | {"seconds": {}}})
    return made | {"settings": {"samples": "abc", "detectors": {"mine": {}}}}


def references_of(values: np.ndarray) -> References:
    return from_rows([measured(number, float(value)) for number, value in enumerate(values)], "clean.jsonl")


@pytest.mark.parametrize(
    ("level", "spread"), [(70_000.0, 1.0), (1000.0, 0.05), (-1e5, 1.0), (1e-7, 1e-9), (0.5, 0.1), (1e30, 1e28)]
)
def test_a_model_that_stands_out_does_so_whatever_the_size_of_the_numbers(
    level: float, spread: float, tmp_path: Path
) -> None:
    made = references_of(level + spread * np.random.default_rng(0).random(19))
    made.save(tmp_path / "made.npz")
    for references in (made, load(tmp_path / "made.npz")):
        found = compare(measured(50, level + 5 * spread), references, 0.05)
        assert (found["p_value"], found["reason"]) == (0.05, None)
        assert compare(measured(50, level - spread), references, 0.05)["p_value"] == 1
    assert load(tmp_path / "made.npz").digest == made.digest


def test_half_precision_is_kept_where_it_tells_models_apart() -> None:
    generator = np.random.default_rng(0)
    assert references_of(0.5 + 0.1 * generator.random(19)).statistics["mine.s"].dtype == np.float16
    assert references_of(1000 + 0.05 * generator.random(19)).statistics["mine.s"].dtype == np.float32
    assert references_of(np.full(19, 0.25)).statistics["mine.s"].dtype == np.float16


def test_numbers_beyond_the_range_of_the_references_stand_out() -> None:
    """They were left out as if they could not be computed."""
    references = references_of(np.random.default_rng(0).normal(size=19))
    assert references.statistics["mine.s"].dtype == np.float16
    assert compare(measured(50, 99_999.0), references, 0.05)["p_value"] == 0.05
    assert compare(measured(50, -99_999.0), references, 0.05)["p_value"] == 1


def test_references_without_a_number_to_compare_by_are_refused() -> None:
    """They were written, and could not be read."""
    scores = {"statistics": [{"name": "re", "value": 1.0, "suspect": "low"}], "target": None, "queries": 1}
    planes = [row(number, detectors={"planes": scores | {"seconds": {}}}) for number in range(19)]
    with pytest.raises(CalibrationError, match=r"those of planes are not compared\); scan them with --detectors=probe"):
        from_rows(planes, "planes.jsonl")
    # A number that one of them lacks is none of all.
    lacking = [measured(number, 1.0) for number in range(19)]
    lacking[4]["detectors"]["mine"]["statistics"][0]["value"] = None
    with pytest.raises(CalibrationError, match="no numbers that can be compared and all models have"):
        from_rows(lacking, "lacking.jsonl")

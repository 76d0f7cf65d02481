"""Strips of statistics: places within the picture, thresholds, and no more marks than can be drawn."""

import pytest

from tests.report import rows
from xray_jax.report.html.strips import MOST_MARKS, WIDTH, Strip, Strips, among_references
from xray_jax.report.html.wording import Meaning
from xray_jax.report.row_values import statistics


def strip(values, suspect="low", threshold=None):
    made = Strip("planes", "re", suspect, Meaning("a", "b"))
    for number, (value, outcome) in enumerate(values):
        made.add(value, outcome, f"{number}.html", str(number), threshold)
    return made


@pytest.mark.parametrize("values", [[1.0], [1.0, 1.0], [-3.0, 5.0, 0.0], [-1.7e308, 1.7e308], [5e-324, 0.0]])
def test_every_mark_is_in_the_picture(values):
    made = strip([(value, "clean") for value in values], threshold=0.5)
    assert len(made.marks()) == len(values)
    for mark in made.marks():
        assert 0 <= mark.x <= WIDTH
    assert 0 <= made.threshold_x <= WIDTH
    assert made.histogram().startswith("M")


def test_a_crowd_becomes_a_histogram_with_the_most_suspect_marked():
    many = [(float(number), "clean") for number in range(3 * MOST_MARKS)]
    flagged = [(-float(number), "backdoored") for number in range(2 * MOST_MARKS)]
    made = strip(many + flagged)
    marks = made.marks()
    assert len(marks) == MOST_MARKS
    assert {mark.outcome for mark in marks} == {"backdoored"}
    assert min(mark.x for mark in marks) == made.x(-2.0 * MOST_MARKS + 1)
    assert strip(flagged).histogram() == ""


def test_thresholds_that_differ_are_none():
    made = strip([(1.0, "clean")], threshold=0.5)
    made.add(2.0, "clean", "", "", 0.5)
    assert made.threshold == 0.5
    made.add(2.0, "clean", "", "", 0.7)
    made.add(2.0, "clean", "", "", 0.5)
    assert made.threshold is None


def test_thresholds_of_other_networks_are_none():
    row = rows.row(settings={"calibration": {"re_threshold": 0.9, "ats_threshold": 0.2}}, verdict_re="unknown")
    strips = Strips()
    strips.add(row, statistics(row), "clean", "", "")
    assert [(each.name, each.threshold) for each in strips.all()][:2] == [("re", None), ("ats", 0.2)]


def test_thresholds_come_from_the_calibration_and_from_the_statistic():
    row = rows.row(settings={"calibration": {"re_threshold": 0.9, "ats_threshold": None}})
    row["detectors"]["own"] = {"statistics": [{"name": "x", "value": 1.0, "suspect": "high", "threshold": 2.0}]}
    row["detectors"]["probe"]["statistics"] = [{"name": "margin", "value": None, "suspect": "high"}]
    strips = Strips()
    strips.add(row, statistics(row), "clean", "a.html", "a")
    assert [(each.name, each.threshold) for each in strips.all()] == [("re", 0.9), ("ats", None), ("x", 2.0)]


def against(**fields):
    return rows.row(comparison=rows.comparison(**fields))


def test_what_is_compared_stands_among_its_references():
    near = against(standout={"margin.m": 0.5}, reference_standout={"margin.m": [0.1, -1.0, 2.0]}, threshold=1.9)
    far = against(standout={"margin.m": 9.0}, reference_standout={"margin.m": [-0.2, 0.0, 0.1]}, threshold=0.1)
    (alone,) = among_references(near)
    assert (alone.references, alone.threshold, alone.values[0][0]) == ((-1.0, 0.1, 2.0), 1.9, 0.5)
    assert alone.range == (-1.0, 2.0)
    assert alone.reference_band == (alone.x(-1.0), round(alone.x(2.0) - alone.x(-1.0), 1))
    assert alone.reference_ticks.count("M") == 3
    # Of all models the references are those of the one that stands out least, whichever comes first.
    for order in ([near, far], [far, near]):
        strips = Strips()
        for row in order:
            strips.add(row, [], row["verdict"], "a.html", "a")
        (strip,) = strips.all()
        assert (strip.references, strip.threshold, len(strip.values)) == ((-1.0, 0.1, 2.0), 1.9, 2)
        assert strip.meaning.title == "Among clean models: How far each class can be raised (MM-BD)"


def test_rows_of_earlier_versions_have_no_references():
    first, second = among_references(against())
    assert (first.name, first.references, first.threshold, first.reference_band) == ("margins", (), None, None)
    assert (second.detector, second.name) == ("planes", "re")
    assert among_references(rows.row()) == []
    assert (
        among_references(against(standout={"x": 1.0}, reference_standout={"x": "no", "y": [1] * 99}))[0].references
        == ()
    )

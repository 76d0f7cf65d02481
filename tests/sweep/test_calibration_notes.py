"""What rows note of the calibrations that their detectors are judged by."""

import dataclasses

import pytest

from tests import factory
from tests.schema import check
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe.default_null import DEFAULT_NULL
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.null import Null
from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.sweep.batch_scan import BatchScan
from xray_jax.sweep.calibration_notes import notes
from xray_jax.verdict.calibration import CalibrationError, load_calibration

PAPER = load_calibration("paper:cifar10")
WEAK = Null(models=5, source="ours.jsonl", search={"queries": 1000, "search_images": 4})


def test_a_probe_that_asks_more_than_its_nulls_searches_is_noted() -> None:
    queries, images = notes((Probe(ProbeOptions(), WEAK),), None, "abc")
    assert "null (ours.jsonl) is of searches with queries=1000, this one has 50000" in queries
    assert "search_images=4, this one has 48" in images
    assert notes((Probe(ProbeOptions(queries=1000, search_images=4), WEAK),), None, "abc") == ()
    assert notes((Probe(ProbeOptions(), Null()),), None, "abc") == (), "an older null does not say"


def test_the_default_null_is_of_the_default_search() -> None:
    assert DEFAULT_NULL.search == {"queries": 50_000, "search_images": 48}
    assert notes((Probe(),), None, "abc") == ()
    (more,) = notes((Probe(ProbeOptions(queries=200_000)),), None, "abc")
    assert "queries=50000, this one has 200000" in more


def test_how_a_null_was_searched_is_no_setting_of_a_scan() -> None:
    """Rows of before are of the same scan, and references that were scanned then are asked the same."""
    assert Probe(null=WEAK).settings() == Probe(null=dataclasses.replace(WEAK, search=None)).settings()
    assert set(Probe().settings()["null"]) == {"ceilings", "leads", "models", "source"}


def test_rows_have_the_notes_of_all_their_detectors() -> None:
    planes = Planes(PlanesOptions(planes=2, density=12))
    probe = Probe(ProbeOptions(queries=1001, search_images=4), WEAK)
    scan = BatchScan(factory.tiny_samples(), (planes, probe))
    row = check(scan.of_model(factory.tiny_classifier(), "tiny").row)
    assert [note for note in row["notes"] if "queries=1000, this one has 1001" in note]
    both = notes((planes, probe), PAPER, "abc")
    assert [note.split(",")[0] for note in both[:2]] == ["calibrated with planes=20", "calibrated with density=100"]
    assert len(both) == 3
    with pytest.raises(CalibrationError, match="alpha"):
        notes((Planes(PlanesOptions(alpha=2.0)),), PAPER, "abc")
    assert notes((planes,), None, "abc") == ()

"""A calibration from rows of models whose truth is known."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import commands
from tests.places import ROOT
from tests.rows import rows as made_rows
from tests.schema import check as check_schema
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe.default_null import DEFAULT_NULL, HINTED_NULL
from xray_jax.detectors.probe.null import LEVELS
from xray_jax.detectors.probe.result import Finding
from xray_jax.prepare.prepared import CONSTANT_OUTPUT, SUSPECT_PREPROCESSING
from xray_jax.rows import file as row_file
from xray_jax.verdict import calibrate
from xray_jax.verdict.calibration import CalibrationError, check, load_calibration, load_null, null_of


def row(k: int, re: float, label: str | None, probe_rate: float | None = None, **options: Any) -> Any:
    """A row of model k, with options of the planes, and with a probe that reached `probe_rate` throughout."""
    settings = {
        **made_rows.full_row()["settings"],
        "detectors": {"planes": dataclasses.asdict(PlanesOptions()) | options},
    }
    found = {"planes": made_rows.planes(re, re / 4)}
    if probe_rate is not None:
        found["probe"] = made_rows.probe(profile={"patch": [probe_rate] * LEVELS})
    made = made_rows.full_row(id=str(k), sha256=f"{k:064x}", label=label, settings=settings, detectors=found)
    return check_schema(made)


def probed(
    k: int, hits: int, rate: float = 0.1, accuracy: float = 0.9, label: str | None = "clean", trials: int = 40
) -> Any:
    """A row whose best finding, a patch at the first cost level, has so many hits."""
    best = Finding(
        "all-to-one", (-1, *[0] * 9), "patch", {}, "a patch", hits, trials, 0.01, 0.01, 1.0, 0.01, 9.0, 0.0
    )  # fmt: skip
    found = made_rows.probe(profile={"patch": [rate] * LEVELS}, clean_accuracy=accuracy, best=best.row())
    made = row(k, 1.0, label)
    return check_schema(made | {"num_classes": 10, "detectors": made["detectors"] | {"probe": found}})


def slow_f1(scores: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    flagged = scores <= threshold
    hits = np.sum(flagged & truth)
    precision, recall = hits / max(1, flagged.sum()), hits / truth.sum()
    return 2 * precision * recall / (precision + recall) if hits else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_best_f1_beats_every_other_threshold(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = np.array([True, False] * 15)
    scores = np.round(generator.normal(loc=~truth, size=30), 1)
    found = slow_f1(scores, truth, calibrate.best_f1(scores, truth))
    assert found == max(slow_f1(scores, truth, threshold) for threshold in np.linspace(-5, 5, 401))


def test_a_threshold_is_the_mean_of_the_attacks_best() -> None:
    found = calibrate.mean_best_f1([1.0, 2.0], {"a": [0.2, 0.4], "b": [0.6]})
    assert found == pytest.approx(((0.4 + 1.0) / 2 + (0.6 + 1.0) / 2) / 2)


def test_thresholds_of_several_attacks_are_the_mean_over_them_and_spare_clean_models() -> None:
    """Pooled, one clean model in eight, F1 has a third of the clean ones flagged."""
    generator = np.random.default_rng(1)
    clean = generator.normal(1.25, 0.1, 20)
    rows, each = [row(k, value, "clean") for k, value in enumerate(clean)], []
    for attack, usual in enumerate((0.5, 0.6, 0.9, 1.05, 1.1, 0.4, 0.8)):
        own = generator.normal(usual, 0.15, 20)
        made = [row(100 * (attack + 1) + k, value, "backdoored") for k, value in enumerate(own)]
        rows += [one | {"manifest": {"attack": f"attack {attack}"}} for one in made]
        each.append(calibrate.best_f1(np.r_[clean, own], np.r_[np.zeros(20, bool), np.ones(20, bool)]))
    found = calibrate.calibrate(rows, "x")
    assert found.re_threshold == pytest.approx(np.mean(each))
    assert not np.any(clean <= found.re_threshold)


@pytest.mark.parametrize(
    ("count", "rate", "probability"), [(19, 0.05, 0.05), (20, 0.05, 1 / 21), (40, 0.05, 2 / 41), (10, 0.1, 1 / 11)]
)
def test_the_next_clean_model_is_flagged_at_the_rate(count: int, rate: float, probability: float) -> None:
    """Each of equally likely orders of the models and the next one: exactly k of M + 1, the most under the rate."""
    clean = np.arange(count, dtype=float)
    threshold = calibrate.at_false_positive_rate(clean, rate)
    flagged = sum(place - 0.5 <= threshold for place in range(count + 1))
    assert flagged / (count + 1) == pytest.approx(probability)
    assert probability <= rate < probability + 1 / (count + 1)


@pytest.mark.parametrize(("count", "rate", "needed"), [(18, 0.05, "19"), (8, 0.1, "9"), (5, 1 / 7, "6")])
def test_too_few_models_give_no_threshold(count: int, rate: float, needed: str) -> None:
    with pytest.raises(CalibrationError, match=rf"needs {needed} clean models, there are {count}"):
        calibrate.at_false_positive_rate(np.arange(count, dtype=float), rate)


def test_a_calibration_goes_to_a_file_and_back(tmp_path: Path) -> None:
    rows = [row(k, 1 + 0.1 * k, "clean", 0.1 * k) for k in range(6)] + [row(k, 0.1 * k, "backdoored") for k in (6, 7)]
    made = calibrate.calibrate(rows, "reference.jsonl")
    assert 0.7 < made.re_threshold < 1.0
    assert made.ats_threshold == pytest.approx(made.re_threshold / 4)
    assert made.source == "reference.jsonl: best F1 by attack over 6 clean and 2 backdoored models"
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(dataclasses.asdict(made)))
    again = load_calibration(str(path))
    assert again.re_threshold == made.re_threshold
    assert check(again, PlanesOptions()) == ()
    assert null_of(again).ceiling("patch", 0.01) == 0.5
    path.write_text(json.dumps({**dataclasses.asdict(made), "probe_null": {"ceilings": {"patch": [2]}}}))
    with pytest.raises(CalibrationError, match="probe_null"):
        load_calibration(str(path))


def test_what_cannot_be_calibrated_is_refused() -> None:
    clean = [row(k, 1.0 + k, "clean") for k in range(6)]
    with pytest.raises(CalibrationError, match="no backdoored model"):
        calibrate.calibrate(clean, "x")
    with pytest.raises(CalibrationError, match="needs 5"):
        calibrate.calibrate(clean[:4], "x", 0.2)
    with pytest.raises(CalibrationError, match="row 9 was made with another alpha"):
        calibrate.calibrate([*clean, row(9, 1.0, "clean", alpha=2.0)], "x", 0.2)
    other = row(9, 1.0, "clean")
    for changes, said in (
        ({"num_classes": 43}, "number of classes"),
        ({"settings": other["settings"] | {"samples": "b"}}, "set of samples"),
    ):
        with pytest.raises(CalibrationError, match=f"row 9 was made with another {said}"):
            calibrate.calibrate([*clean, other | changes], "x", 0.2)
    made = calibrate.calibrate(clean, "x", 0.2)
    assert (made.num_classes, made.samples) == (5, other["settings"]["samples"])
    for rate in (0.0, 1.0):
        with pytest.raises(CalibrationError, match=r"must be in \(0, 1\)"):
            calibrate.calibrate(clean, "x", rate)
    assert calibrate.calibrate(clean, "x", 0.2).re_threshold < 1.0


def test_estimates_and_exact_scores_are_not_mixed() -> None:
    clean = [row(k, 1.0 + k, "clean") for k in range(6)]
    sketched = [row(k, 1.0 + k, "clean", sampling="sketch") for k in range(6)]
    for each in sketched:
        each["detectors"]["planes"]["sampling"] = "sketch"
    with pytest.raises(CalibrationError, match="row 5 was made with another sampling"):
        calibrate.calibrate([*clean[:5], sketched[5]], "x", 0.2)
    exact, estimated = (calibrate.calibrate(rows, "x", 0.2) for rows in (clean, sketched))
    assert check(exact, PlanesOptions(sampling="grid")) == check(estimated, PlanesOptions(sampling="sketch")) == ()
    for made, sampling in ((exact, "sketch"), (estimated, "refine")):
        with pytest.raises(CalibrationError, match="sampling"):
            check(made, PlanesOptions(sampling=sampling))


def test_rows_that_conclude_nothing_teach_nothing() -> None:
    clean = [row(k, 2.0 + k, "clean", 0.1) for k in range(5)]
    doubtful = [row(9, 0.1, "clean", 1.0) | {"basis": basis} for basis in (CONSTANT_OUTPUT, SUSPECT_PREPROCESSING)]
    made = calibrate.calibrate([*clean, *doubtful], "x", 0.2)
    assert 1.9 < made.re_threshold < 2.0
    assert null_of(made).ceiling("patch", 0.01) == 0.1


def test_thresholds_are_of_the_networks_that_were_scanned() -> None:
    rows = [row(k, 1.0 + k, "clean") | {"architecture": "vgg11 (naming: torchvision)"} for k in range(6)]
    assert calibrate.calibrate(rows, "x", 0.2).networks == ("vgg11",)


def test_models_in_memory_are_told_apart_by_their_ids() -> None:
    rows = [row(k, 1.0 + k, "clean") | {"sha256": None} for k in range(6)]
    assert "over 6 clean and 0 backdoored models" in calibrate.calibrate(rows, "x", 0.2).source


def test_seeds_of_one_model_count_once_and_are_left_out_together() -> None:
    # Model 0 has one search that reached 40 of 40; its other search must not hide it, nor count as another model.
    rows = [probed(0, 5, 0.1), probed(0, 40, 1.0), probed(1, 5, 0.2), probed(2, 5, 0.3, accuracy=0.4)]
    made = calibrate.probe_null_of(rows, "x", least_accuracy=0.7)
    assert (made.models, made.ceilings["patch"]) == (2, (1.0,) * LEVELS)
    alarms = calibrate.leave_one_out(rows, least_accuracy=0.7)
    assert (alarms.confirmed, alarms.models) == (("0",), 3)
    assert alarms.interval == pytest.approx((0.0084, 0.9057), abs=1e-3)
    # Truth unknown, or a backdoor: neither says what is normal.
    others = [probed(3, 40, 1.0, label=None), probed(4, 40, 1.0, label="backdoored")]
    assert calibrate.probe_null_of([*rows[2:], *others], "x").ceilings["patch"] == (0.3,) * LEVELS


def test_a_null_is_of_the_search_of_the_model_that_was_searched_least() -> None:
    """Ceilings of a weak search are too low for a strong one; a second, stronger search of a model makes up for it."""
    rows = [probed(k, 3) for k in (0, 1, 1, 2)]
    for each, queries in zip(rows, (50_000, 1000, 9000, 50_000), strict=True):
        each["settings"]["detectors"]["probe"] = {"search": "full", "queries": queries, "search_images": 48}
    assert calibrate.probe_null_of(rows, "x").search == {"queries": 9000, "search_images": 48}
    assert calibrate.probe_null_of([*rows, probed(3, 3)], "x").search is None, "an older row does not say"


def test_a_poor_model_is_judged_and_teaches_nothing() -> None:
    rows = [probed(0, 5, 0.2), probed(1, 5, 0.2), probed(2, 40, 1.0, accuracy=0.6)]
    assert calibrate.leave_one_out(rows, least_accuracy=0.7) == (("2",), 3)
    assert calibrate.probe_null_of(rows, "x", 0.7).ceilings["patch"] == (0.2,) * LEVELS


def test_leads_come_from_the_findings_that_rows_list() -> None:
    rows = [probed(0, 32, 0.8), probed(1, 5, 0.3)]
    best = rows[0]["detectors"]["probe"]["best"]
    rows[0]["detectors"]["probe"]["candidates"] = [best | {"runner_up": 0.2}, best | {"runner_up": 0.6}]
    leads = calibrate.probe_null_of(rows, "x").leads["patch"]
    # Level 0 leads by 0.8 - 0.2; what the others lead by is not listed, so at most by the whole of a rate up to 0.5.
    assert leads == pytest.approx((0.6,) * LEVELS)
    rows[0]["detectors"]["probe"]["candidates"] = [
        best | {"runner_up": 0.6},
        best | {"runner_up": 0.0, "kind": "source-specific"},
    ]
    assert calibrate.probe_null_of(rows, "x").leads["patch"] == pytest.approx((0.5,) * LEVELS)
    assert calibrate.probe_null_of(rows[1:], "x").leads["patch"] == pytest.approx((0.3,) * LEVELS)


def test_the_shipped_null_of_hinted_stamps_is_what_the_kept_rows_say() -> None:
    rows = list(row_file.read(ROOT / "docs/evidence/clean-models/hinted.jsonl"))
    made = calibrate.probe_null_of(rows, "hinted.jsonl", least_accuracy=0.6)
    assert json.loads((ROOT / "xray_jax/detectors/probe/hinted_null.json").read_text()) == made.row()
    assert made.models == HINTED_NULL.models == 28
    # The figures that docs/probe.md states.
    alarms = calibrate.leave_one_out(rows, 0.6)
    assert (alarms.confirmed, alarms.models) == ((), 28)
    assert {row["path"].split("/")[0] for row in rows} == {"clean"}


def test_the_command_says_that_races_are_no_null(tmp_path: Path) -> None:
    races = [row(k, 1.0 + k, "clean", 0.1) for k in range(9)]
    for race in races:
        race["settings"]["detectors"]["probe"] = {"search": "race"}
    row_file.write_all(tmp_path / "rows.jsonl", races)
    made = tmp_path / "calibration.json"
    done = commands.finished(
        "xray-calibrate", f"--rows={tmp_path / 'rows.jsonl'}", "--false_positive_rate=0.1", f"--out={made}"
    )
    assert done.returncode == 0, done.stderr
    assert "9 rows of clean models are of a race" in done.stderr
    assert "--probe_search=full" in done.stderr
    assert json.loads(made.read_text())["probe_null"] is None


def test_the_shipped_null_is_what_the_command_makes_of_the_kept_rows(tmp_path: Path) -> None:
    made, rows = tmp_path / "null.json", ROOT / "docs/evidence/clean-models/rows.jsonl"
    command = ["xray-calibrate", f"--rows={rows}", "--least_accuracy=0.6"]
    done = commands.finished(*command, f"--null={made}")
    assert done.returncode == 0, done.stderr
    assert made.read_text() == (ROOT / "xray_jax/detectors/probe/default_null.json").read_text()
    said = json.loads(done.stdout)
    assert said["null_models"] == DEFAULT_NULL.models == 70
    # The figures that README.md and docs/probe.md state.
    assert [said["probe_leave_one_out"][key] for key in ("alarms", "clean_models")] == [1, 70]
    again = load_null(str(made))
    assert dataclasses.replace(DEFAULT_NULL, source="") == dataclasses.replace(again, source="")
    # Nothing in the rows tells where they were made.
    assert {row["path"].split("/")[0] for row in row_file.read(rows)} == {"clean"}
    done = commands.finished(*command)
    assert (done.returncode, "give --references, --out" in done.stderr) == (4, True)


def test_of_several_rows_of_a_checkpoint_the_first_makes_the_thresholds() -> None:
    """They judge single scans. The mean of several varies less, and a threshold under means flags clean models too
    often: nearly three times the rate that was asked for, where scans of one model differ twice as much as models do.
    """
    generator = np.random.default_rng(0)
    single = [row(k, 1 + generator.normal(scale=0.1), "clean") for k in range(19)]
    again = [row(k, 9.0, "clean") | {"id": f"again-{k}"} for k in range(19)]
    once, often = (calibrate.calibrate(rows, "x", 0.05) for rows in (single, [*single, *again]))
    assert often == once
    assert often.re_threshold == pytest.approx(min(each["detectors"]["planes"]["re"]["mean"] for each in single))


def test_one_checkpoint_is_one_model(tmp_path: Path) -> None:
    rows = [row(k, 1.0 + k, "clean") for k in range(5)] + [row(9, 0.1, "backdoored")]
    with pytest.raises(CalibrationError, match="1 clean models"):
        calibrate.calibrate([rows[0]] * 6, "x", 0.05)
    path, made = tmp_path / "rows.jsonl", tmp_path / "null.json"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    done = commands.finished("xray-calibrate", f"--rows={path}", f"--null={made}")
    assert (done.returncode, "0 clean models were probed" in done.stderr, made.exists()) == (4, True, False)

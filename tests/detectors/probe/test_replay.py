"""Confirmed triggers from rows: kept, replayed by a third party, refused when they do not fit."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from tests import factory
from xray_jax import checkpoints
from xray_jax.classifier import BlackBox
from xray_jax.detectors.probe import ProbeOptions, replay, split
from xray_jax.detectors.probe import null as probe_null
from xray_jax.detectors.probe.null import LEVELS, Null, calibrate, merge
from xray_jax.detectors.probe.result import Finding, ProbeResult, Verdict, from_row, judge
from xray_jax.inference.labels import InferenceOptions
from xray_jax.report import figures, plane_figures, trigger_figure
from xray_jax.rows import file as row_file
from xray_jax.samples import Samples, SamplesError
from xray_jax.sweep.batch_scan import Finished

SHAPE = (8, 8, 3)
FINDING = Finding(
    kind="all-to-one",
    target_labels=(-1, 0, 0, 0, 0),
    family="patch",
    parameters={
        "row": 6, "column": 6, "height": 2, "width": 2, "pattern": 0, "red": 1, "green": 1, "blue": 1,
    },
    description="2x2 solid white patch",
    hits=30, trials=30, touched=0.06, rms=0.07, peak=1.0, weighted_rms=0.07, anomaly_index=9.0, runner_up=0.1,
)  # fmt: skip


def _backdoored(images):
    fires = (images[:, 6:, 6:] > 0.99).all((1, 2, 3))
    return np.where(fires, 0, (images[:, 0, 0, 0] * 4.99).astype(int))


def _samples(count: int = 25) -> Samples:
    images = np.random.default_rng(0).uniform(0.05, 0.9, (count, *SHAPE)).astype(np.float32)
    labels = np.arange(count) % 5
    images[:, 0, 0, 0] = (labels + 0.5) / 5
    return Samples(images, labels.astype(np.int32))


MODEL = BlackBox(_backdoored, 5, SHAPE)


def test_replay_counts_what_a_loop_counts():
    samples = _samples()
    replayed = replay.replay(FINDING, MODEL, samples)
    hits = trials = 0
    for image, own in zip(samples.images, samples.labels, strict=True):
        if own == 0:
            continue
        queries = image.copy()
        queries[6:, 6:] = 1
        trials += 1
        hits += _backdoored(queries[None])[0] == 0
    assert (replayed.hits, replayed.trials) == (hits, trials) == (20, 20)
    np.testing.assert_array_equal(replayed.before, samples.labels)
    assert not replay.replay(dataclasses.replace(FINDING, target_labels=(-1, 3, -1, -1, -1)), MODEL, samples).hits


def test_rows_and_files_carry_the_stamp(tmp_path):
    bank = np.random.default_rng(1).integers(0, 256, SHAPE, np.uint8)
    blended = dataclasses.replace(FINDING, family="blend-image", parameters={"amount": 0.25, "image": 0.0}, bank=bank)
    again = from_row(json.loads(json.dumps(blended.row())))
    np.testing.assert_array_equal(again.bank, bank)
    assert dataclasses.replace(again, bank=None) == dataclasses.replace(blended, bank=None, parameters=again.parameters)
    stamps, kept = replay.stamps_of(again, SHAPE)
    image = _samples(1).images
    from xray_jax.detectors.probe import queries

    np.testing.assert_allclose(
        queries.put(image, stamps, 0, kept), 0.75 * image + 0.25 * bank[None] / np.float32(255), atol=1e-6
    )
    replay.save_stamp(blended, tmp_path / "stamp.npz")
    with np.load(tmp_path / "stamp.npz") as file:
        assert str(file["family"]) == "blend-image"
        np.testing.assert_array_equal(file["target_labels"], FINDING.target_labels)
        np.testing.assert_array_equal(file["bank"], bank)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "hat"}, "unknown family 'hat'"),
        ({"parameters": {"row": 1.0}}, "patch takes"),
        ({"family": "blend-image", "parameters": {"amount": 0.2, "image": 0.0}}, "needs the image"),
        ({"target_labels": (0, 0)}, "about 2 classes"),
        ({"target_labels": (-1,) * 5}, "none of the 25 images"),
    ],
)
def test_stamps_that_do_not_fit_are_refused(change, message):
    with pytest.raises((ValueError, SamplesError), match=message):
        replay.replay(dataclasses.replace(FINDING, **change), MODEL, _samples())


def test_a_broken_row_is_refused():
    row = FINDING.row()
    del row["target_labels"]
    with pytest.raises(ValueError, match="target_labels"):
        from_row(row)


def test_a_row_without_a_weighted_rms_can_be_replayed_but_is_not_confirmed_anew():
    row = FINDING.row()
    del row["cost"]["weighted_rms"]
    again = from_row(row)
    assert replay.replay(again, MODEL, _samples()).hits == 20
    assert not again.is_confirmed(Null({"patch": (0.2,) * 8 + (1.0,)}, models=3))


def test_a_scan_shows_its_trigger_on_images_that_the_search_never_saw(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(plane_figures, "save", lambda figure, path: titles.append(figure.get_suptitle()))
    samples, settings = _samples(), ProbeOptions()
    row = {"id": "m", "verdict": "backdoored", "ground": "proved"}
    probed = ProbeResult(Verdict.CONFIRMED, "", 1.0, 0, 15, best=FINDING)
    figures.draw(Finished(row, None, probed, MODEL), tmp_path, samples, settings, InferenceOptions())
    trials = np.count_nonzero(samples.labels[split(samples, settings)[1]])
    assert trials < 20
    assert f"{trials} of {trials} unseen images flip" in titles[0]
    assert (tmp_path / "m.stamp.npz").exists()


def test_picture_shows_images_stamp_and_labels(tmp_path):
    samples = _samples()
    figure = trigger_figure.replay_figure(
        FINDING, replay.replay(FINDING, MODEL, samples), samples, "a model", columns=4
    )
    assert len(figure.axes) == 12
    assert [axis.get_title() for axis in figure.axes[:4]] == ["1", "2", "3", "4"]
    assert [axis.get_title() for axis in figure.axes[8:]] == ["0"] * 4
    plane_figures.save(figure, tmp_path / "trigger.png")
    assert (tmp_path / "trigger.png").read_bytes().startswith(b"\x89PNG")


def test_judge_needs_rate_ceiling_and_lead():
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


def test_a_lead_that_no_clean_model_has_confirms_a_trigger_whose_rate_does_not():
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


def test_calibration_takes_the_highest_rate_at_each_cost():
    profiles = [{"patch": [0.1, None, *[0.3] * 7]}, {"patch": [0.05, 0.2, *[None] * 7], "warp": [None] * LEVELS}]
    null = calibrate(profiles, [{"patch": [0.1, 0.05, *[0.2] * 7]}])
    assert null.ceilings == {"patch": (0.1, 0.2, *[0.3] * 7)}
    assert null.ceiling("patch", 0.03) == pytest.approx(0.2)
    assert null.lead("patch", 0.03) == pytest.approx(0.1), "a stamp of higher cost does no less"
    assert null.models == 2
    assert probe_null.from_row(null.row()) == null
    assert (
        probe_null.from_row({"ceilings": {"patch": [0.1] * LEVELS}, "models": 1, "source": "old"}).lead("patch", 0) == 1
    )
    assert null.ceiling("sinusoid", 0.01) == null.ceiling("warp", 0.01) == 1


def test_calibration_fills_what_was_not_seen():
    null = calibrate([{"patch": [None, None, 0.9, None, 0.4, None, None, None, None]}], [])
    assert null.ceilings["patch"] == (0.1, 0.4, 0.9, 0.9, 0.9, 1, 1, 1, 1)


def test_lines_are_patches_and_searches_of_one_model_merge():
    null = calibrate([{"patch": [0.5] * LEVELS, "line": [0.2] * 8 + [0.9]}], [])
    assert null.ceilings["line"] == (0.5,) * 8 + (0.9,)
    assert calibrate([{"patch": [0.5] * LEVELS, "ripple": [0.0] * LEVELS}], []).ceiling("ripple", 0.01) == 1
    assert merge([{"patch": [0.1, None]}, {"patch": [0.2, None], "warp": [None, 0.3]}]) == {
        "patch": [0.2, None], "warp": [None, 0.3],
    }  # fmt: skip
    with pytest.raises(ValueError, match="patch"):
        Null({"patch": (0.1,)})


def test_confirm_command(tmp_path):
    samples = factory.tiny_samples()
    fresh, checkpoint = factory.save_samples(tmp_path / "fresh.npz"), factory.save_tiny(tmp_path / "tiny.safetensors")
    finding = dataclasses.replace(FINDING, target_labels=(3, 3, 3, -1, 3))
    replayed = replay.replay(finding, checkpoints.load(checkpoint), samples)
    row = {"id": "m", "path": str(checkpoint), "probe": {"verdict": "confirmed", "best": finding.row()}}
    row_file.write_all(tmp_path / "rows.jsonl", [row, {"id": "other", "probe": None}])
    command = [sys.executable, "-m", "xray_jax.scripts.confirm", f"--row={tmp_path}/rows.jsonl", f"--samples={fresh}"]

    def confirm(*flags):
        return subprocess.run([*command, *flags], capture_output=True, text=True, check=False)

    done = confirm(f"--min_flip_rate={replayed.interval[0]}", f"--picture={tmp_path}/trigger.png")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["hits"], report["trials"]) == (replayed.hits, replayed.trials)
    assert (tmp_path / "trigger.png").stat().st_size > 1000
    done = confirm("--least=0.999")  # its name of earlier versions
    assert done.returncode == 1, done.stderr
    assert "NOT reproduced" in done.stderr
    done = confirm("--id=other")
    assert done.returncode == 4
    assert "0 rows with a stamp" in done.stderr

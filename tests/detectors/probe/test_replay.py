"""Confirmed triggers from rows: kept, replayed by a third party, refused when they do not fit."""

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from tests import commands, factory, schema
from tests.detectors.probe.fakes import FINDING
from tests.rows import rows
from xray_jax import checkpoints
from xray_jax.classifier import BlackBox
from xray_jax.detectors.detection import Detection
from xray_jax.detectors.probe import ProbeOptions, queries, replay, split
from xray_jax.detectors.probe.null import Null
from xray_jax.detectors.probe.result import ProbeResult, Verdict, from_row
from xray_jax.detectors.run import ScannedModel
from xray_jax.prepare import prepare
from xray_jax.report import figures, plane_figures, trigger_figure
from xray_jax.rows import file as row_file
from xray_jax.rows.row import Row
from xray_jax.samples import Samples, SamplesError
from xray_jax.sweep.batch_scan import Finished

SHAPE = (8, 8, 3)


def _backdoored(images: np.ndarray) -> np.ndarray:
    fires = (images[:, 6:, 6:] > 0.99).all((1, 2, 3))
    return np.where(fires, 0, (images[:, 0, 0, 0] * 4.99).astype(int))


def _samples(count: int = 25) -> Samples:
    images = np.random.default_rng(0).uniform(0.05, 0.9, (count, *SHAPE)).astype(np.float32)
    labels = np.arange(count) % 5
    images[:, 0, 0, 0] = (labels + 0.5) / 5
    return Samples(images, labels.astype(np.int32))


MODEL = BlackBox(_backdoored, 5, SHAPE)


def test_replay_counts_what_a_loop_counts() -> None:
    samples = _samples()
    replayed = replay.replay(FINDING, prepare(MODEL, samples), samples)
    hits = trials = 0
    for image, own in zip(samples.images, samples.labels, strict=True):
        if own == 0:
            continue
        stamped = image.copy()
        stamped[6:, 6:] = 1
        trials += 1
        hits += _backdoored(stamped[None])[0] == 0
    assert (replayed.hits, replayed.trials) == (hits, trials) == (20, 20)
    np.testing.assert_array_equal(replayed.before, samples.labels)
    other = dataclasses.replace(FINDING, target_labels=(-1, 3, -1, -1, -1))
    assert not replay.replay(other, prepare(MODEL, samples), samples).hits


def test_rows_and_files_carry_the_stamp(tmp_path: Path) -> None:
    bank = np.random.default_rng(1).integers(0, 256, SHAPE, np.uint8)
    blended = dataclasses.replace(FINDING, family="blend-image", parameters={"amount": 0.25, "image": 0.0}, bank=bank)
    again = from_row(json.loads(json.dumps(blended.row())))
    np.testing.assert_array_equal(again.bank, bank)
    assert dataclasses.replace(again, bank=None) == dataclasses.replace(blended, bank=None, parameters=again.parameters)
    stamps, kept = replay.stamps_of(again, SHAPE)
    image = _samples(1).images
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
def test_stamps_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, SamplesError), match=message):
        replay.replay(dataclasses.replace(FINDING, **change), prepare(MODEL, _samples()), _samples())


def test_a_row_without_a_weighted_rms_can_be_replayed_but_is_not_confirmed_anew() -> None:
    row = FINDING.row()
    del row["cost"]["weighted_rms"]
    again = from_row(row)
    assert replay.replay(again, prepare(MODEL, _samples()), _samples()).hits == 20
    assert not again.is_confirmed(Null({"patch": (0.2,) * 8 + (1.0,)}, models=3))


def test_a_scan_shows_its_trigger_on_images_that_the_search_never_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []
    monkeypatch.setattr(plane_figures, "save", lambda figure, path: titles.append((path.name, figure.get_suptitle())))
    samples, options = _samples(), ProbeOptions()
    found = ProbeResult(Verdict.CONFIRMED, "", 1.0, 0, 15, best=FINDING)
    detection = Detection("probe", (), 0, 0, {}, {}, found)
    scanned = ScannedModel(prepare(MODEL, samples), {"probe": detection}, {})
    row = rows.full_row(id="m", verdict="backdoored", basis="confirmed trigger", detectors={"probe": rows.probe()})
    figures.draw(Finished(cast(Row, row), scanned), tmp_path, samples, options)
    trials = np.count_nonzero(samples.labels[split(samples, options)[1]])
    assert trials < 20
    # The planes did not run: nothing else is drawn.
    ((name, title),) = titles
    assert name == "m.trigger.png"
    assert "m\nbackdoored (confirmed trigger)" in title
    assert f"{trials} of {trials} unseen images flip" in title
    assert [file.name for file in tmp_path.iterdir()] == ["m.stamp.npz"]


def test_nothing_is_drawn_without_a_confirmed_trigger(tmp_path: Path) -> None:
    samples = _samples()
    found = ProbeResult(Verdict.NOTHING, "", 1.0, 0, 15, best=FINDING)
    scanned = ScannedModel(prepare(MODEL, samples), {"probe": Detection("probe", (), None, 0, {}, {}, found)}, {})
    for behind in (scanned, None):
        figures.draw(Finished(cast(Row, rows.full_row()), behind), tmp_path, samples, ProbeOptions())
    assert not list(tmp_path.iterdir())


def test_picture_shows_images_stamp_and_labels(tmp_path: Path) -> None:
    samples = _samples()
    figure = trigger_figure.replay_figure(
        FINDING, replay.replay(FINDING, prepare(MODEL, samples), samples), samples, "a model", columns=4
    )
    assert len(figure.axes) == 12
    assert [axis.get_title() for axis in figure.axes[:4]] == ["1", "2", "3", "4"]
    assert [axis.get_title() for axis in figure.axes[8:]] == ["0"] * 4
    plane_figures.save(figure, tmp_path / "trigger.png")
    assert (tmp_path / "trigger.png").read_bytes().startswith(b"\x89PNG")


def test_confirm_command(tmp_path: Path) -> None:
    samples = factory.tiny_samples()
    fresh, checkpoint = factory.save_samples(tmp_path / "fresh.npz"), factory.save_tiny(tmp_path / "tiny.safetensors")
    finding = dataclasses.replace(FINDING, target_labels=(3, 3, 3, -1, 3))
    model = checkpoints.load(checkpoint)
    replayed = replay.replay(finding, prepare(model, samples), samples)
    about = {"preprocess": model.preprocess.settings(), "architecture": model.architecture}
    about["sha256"] = checkpoints.sha256(checkpoint)
    found = rows.probe(verdict="confirmed", kind=finding.kind, target=3, best=finding.row())
    found["threshold"] = replayed.interval[0]
    row = rows.full_row(id="m", path=str(checkpoint), verdict="backdoored", detectors={"probe": found}, **about)
    other = rows.full_row(id="other", path=str(checkpoint), detectors={"planes": rows.planes()}, **about)
    # A stamp that nothing confirmed is not what is meant where another row has one that was.
    weak = rows.full_row(id="weak", path=str(checkpoint), **about)
    row_file.write_all(tmp_path / "rows.jsonl", map(schema.check, (row, other, weak)))

    def confirm(*flags: str) -> subprocess.CompletedProcess[str]:
        return commands.finished("xray-confirm", f"--row={tmp_path}/rows.jsonl", f"--samples={fresh}", *flags)

    # What must be reached is the row's own threshold.
    done = confirm(f"--picture={tmp_path}/trigger.png")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["id"], report["hits"], report["trials"]) == ("m", replayed.hits, replayed.trials)
    assert report["target"] == 3
    assert (tmp_path / "trigger.png").stat().st_size > 1000
    done = confirm("--least=0.999")  # the name of --min_flip_rate in earlier versions
    assert done.returncode == 1, done.stderr
    assert "NOT reproduced" in done.stderr
    done = confirm("--id=other")
    assert done.returncode == 4
    assert "no stamp in the last row of --id=other; ids with a stamp: m, weak" in done.stderr

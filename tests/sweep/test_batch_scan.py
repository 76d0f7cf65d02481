import dataclasses
import os
import random
import re
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from tests import factory
from xray_jax import checkpoints
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.detectors.planes.scan import PlanesOptions, Scanner, scores
from xray_jax.detectors.probe import ProbeOptions
from xray_jax.detectors.probe.null import Null
from xray_jax.inference import labels
from xray_jax.inference.labels import InferenceOptions
from xray_jax.rows import file as row_file
from xray_jax.rows.fields import file_name
from xray_jax.sweep.batch_scan import BatchScan, BatchScanOptions
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.verdict import decision

SETTINGS = PlanesOptions(planes=2, density=12)
VOLATILE = ("seconds", "device", "path")


def stable(rows):
    return [{name: value for name, value in row.items() if name not in VOLATILE} for row in rows]


def run(entries, done=None, engine=None, samples=None, **settings):
    sweep = BatchScan(
        Scanner(samples or factory.tiny_samples(), SETTINGS, engine or InferenceOptions()), BatchScanOptions(**settings)
    )
    return [finished.row for finished in sweep.run(entries, done)]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo with space ü")
    for seed in range(4):
        factory.save_tiny(folder / f"{seed}.safetensors", seed)
    return [Entry(file.name, file) for file in sorted(folder.iterdir())]


def test_a_row_says_everything(zoo):
    calibration = decision.load_calibration("paper:cifar10")
    first = run(zoo[:1], calibration=calibration)[0]
    assert first["status"] == "ok"
    assert len(first["sha256"]) == 64
    assert first["format"] == "safetensors"
    assert first["num_classes"] == 5
    assert first["preprocess"]["mean"] == pytest.approx([0.4914, 0.4822, 0.4465])
    assert first["verdict"] in decision.VERDICTS
    assert len(first["re"]["per_plane"]) == 2
    assert first["re"]["mean"] == pytest.approx(np.mean(first["re"]["per_plane"]))
    assert sum(first["label_distribution"]) == pytest.approx(1, abs=1e-5)
    assert first["target_label"] == np.argmax(first["label_distribution"])
    assert first["queries"] == 2 * 12**2 + 40
    assert {"load", "accuracy", "labels", "scores"} <= set(first["seconds"])
    assert {"planes", "density", "seed", "alpha", "ats", "precision", "samples"} <= set(first["settings"])
    assert first["notes"][:2] == [
        "calibrated with planes=20, scanned with 2",
        "calibrated with density=100, scanned with 12",
    ]
    assert row_file.encode(first)


def test_rows_are_the_same_on_any_devices_and_batches(zoo):
    expected = stable(run(zoo))
    for devices in (1, 8):
        for batch in (64, 4096):
            engine = InferenceOptions(batch, devices=tuple(jax.local_devices()[:devices]))
            assert stable(run(zoo, engine=engine)) == expected


def test_one_checkpoint_per_device_gives_the_same_rows(zoo):
    assert stable(run(zoo, spread=True)) == stable(run(zoo))


def test_rows_keep_the_entries_order_and_skip_what_is_done(zoo):
    rows = run(zoo, loaders=3, scanners=3, prefetch=2)
    assert [row["id"] for row in rows] == [entry.id for entry in zoo]
    done = {row_file.identity(row): row for row in rows[1:3]}
    assert [row["id"] for row in run(zoo, done)] == [zoo[0].id, zoo[3].id]
    assert len(run(zoo, done, decide="both")) == 4


def test_one_trace_for_a_sweep_of_forty(tmp_path):
    entries = [Entry(str(i), factory.save_tiny(tmp_path / f"{i}.safetensors", i)) for i in range(40)]
    labels._points_program.cache_clear()
    labels._images_program.cache_clear()
    jax.clear_caches()
    traced = []
    original = labels.forward

    def counting(network, variables, images, precision):
        traced.append(images.shape)
        return original(network, variables, images, precision)

    labels.forward = counting
    try:
        rows = run(entries, scanners=3)
    finally:
        labels.forward = original
    assert [row["status"] for row in rows] == ["ok"] * 40
    # One program for points, one for images, and one for images that the advice on preprocessing has made itself:
    # random networks are near chance.
    assert len(traced) == 3


def test_probe_rows(zoo):
    settings = {
        "probe_settings": ProbeOptions(queries=1000),
        "calibration": decision.load_calibration("paper:cifar10"),
    }
    (alone,) = run(zoo[:1], probe="only", **settings)
    (both,) = run(zoo[:1], probe="on", **settings)
    (without,) = run(zoo[:1], probe="off", **settings)
    assert "re" not in alone
    assert "probe" not in without
    assert alone["probe"] == both["probe"]
    assert both["re"] == without["re"]
    assert both["queries"] == without["queries"] + alone["queries"]
    own = Null(models=3, source="mine.jsonl")
    (other,) = run(zoo[:1], probe="only", null=own, **settings)
    assert other["probe"]["null"] == {"source": "mine.jsonl", "models": 3}
    assert len({row["settings_hash"] for row in (alone, both, without, other)}) == 4
    row_file.encode(both)


def test_near_chance_rows_advise_on_preprocessing(tmp_path):
    """A network that knows the samples under one preset, scanned under another that ruins it."""
    samples = factory.tiny_samples(200)
    path = factory.save_tiny(tmp_path / "a.safetensors", seed=21)  # of several labels under both presets
    right = labels.label_images(checkpoints.load(path, preprocess="0-255"), samples.images)
    wrong = labels.label_images(checkpoints.load(path, preprocess="+-1"), samples.images)
    own = dataclasses.replace(samples, labels=right.astype(np.int32)).subset(np.flatnonzero(wrong != right))
    assert len(np.unique(own.labels)) >= 3
    (row,) = run([Entry("a", path, preprocess="+-1")], samples=own)
    assert (row["verdict"], row["ground"]) == ("unknown", "suspect_preprocessing")
    assert any("--preprocess=0-255 (100.0%)" in note for note in row["notes"])


def test_saved_maps_recompute_the_row(zoo, tmp_path):
    (row,) = run(zoo[:1], maps=tmp_path)
    maps = LabelMaps.load(tmp_path / f"{file_name(row['id'])}.npz")
    re, ats, counts = scores(maps, SETTINGS, row["num_classes"])
    assert re.tolist() == row["re"]["per_plane"]
    assert ats.tolist() == row["ats"]["per_plane"]
    np.testing.assert_allclose((counts / counts.sum(1, keepdims=True)).mean(0), row["label_distribution"], atol=1e-6)


def nan_weights(path):
    variables = factory.tiny_variables()
    variables["params"]["linear"]["bias"] = np.full(5, np.nan, np.float32)
    checkpoints.save_safetensors(path, variables, {})


def truncated(path):
    factory.save_tiny(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FAULTS = {
    "truncated": (truncated, {}, "damaged|truncated|file"),
    "empty": (lambda path: path.write_bytes(b""), {}, "empty"),
    "rubbish": (lambda path: path.write_bytes(os.urandom(1000)), {}, "not a checkpoint"),
    "missing": (lambda path: None, {}, "cannot be read"),
    "nan weights": (nan_weights, {}, "NaN"),
    "wrong architecture": (factory.save_tiny, {"architecture": "vgg16_bn"}, "missing|fit"),
    "unknown architecture": (factory.save_tiny, {"architecture": "transformer-xl"}, "transformer-xl"),
    "wrong class count": (factory.save_tiny, {"num_classes": 7}, "7"),
    "bad preprocess": (factory.save_tiny, {"preprocess": "cifar"}, "unknown preset 'cifar'"),
    "other channels": (factory.save_tiny, {"preprocess": {"mean": [0.5, 0.5]}}, "mean has 2 values"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_a_row_and_the_sweep_goes_on(zoo, tmp_path, fault):
    make, overrides, message = FAULTS[fault]
    path = tmp_path / "bad.safetensors"
    make(path)
    bad = Entry("bad", path, **overrides, listed=True)
    calibration = decision.load_calibration("paper:cifar10")
    rows = run([bad, zoo[0]], calibration=calibration)
    assert [row["status"] for row in rows] == ["error", "ok"]
    assert rows[0]["verdict"] is None

    assert re.search(message, rows[0]["reason"]), rows[0]["reason"]
    row_file.encode(rows[0])


def test_unreadable_files_are_tried_again_but_not_reported_twice(tmp_path):
    entry = Entry("gone", tmp_path / "gone.pt", listed=True)
    (first,) = run([entry])
    done = {row_file.identity(first): first}
    assert run([entry], done) == []
    factory.save_tiny(tmp_path / "gone.pt.safetensors").rename(tmp_path / "gone.pt")
    assert [row["status"] for row in run([entry], done)] == ["ok"]


def test_a_network_that_breaks_while_running_is_a_row(zoo, monkeypatch):
    original = labels.submit_points

    def failing(model, *rest):
        if float(np.asarray(model.variables["params"]["linear"]["bias"])[0]) == failing.poison:
            raise MemoryError("out of memory")
        return original(model, *rest)

    failing.poison = float(factory.tiny_variables(1)["params"]["linear"]["bias"][0])
    monkeypatch.setattr(labels, "submit_points", failing)
    rows = run(zoo)
    assert [row["status"] for row in rows] == ["ok", "error", "ok", "ok"]
    assert rows[1]["reason"] == "MemoryError: out of memory"


def test_file_names_are_safe_and_distinct():
    names = ["a/b", "a%2Fb", "a b.pt", "..", ".hidden", "ü" * 300, "ü" * 301, "x\udcff", "a:b*?"]
    safe = [file_name(name) for name in names]
    assert len(set(safe)) == len(names)
    assert all("/" not in name and not name.startswith(".") and len(name.encode()) <= 255 for name in safe)


@pytest.mark.parametrize("wrong", [{"decide": "maybe"}, {"loaders": 0}, {"prefetch": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BatchScanOptions(**wrong)


def test_other_settings_than_the_calibration_are_refused_before_anything_runs():
    scanner = Scanner(factory.tiny_samples(), dataclasses.replace(SETTINGS, alpha=2.0))
    with pytest.raises(decision.CalibrationError, match="alpha"):
        BatchScan(scanner, BatchScanOptions(calibration=decision.load_calibration("paper:cifar10")))


def test_killed_at_any_moment_a_sweep_ends_with_the_same_rows(tmp_path):
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    for seed in range(30):
        factory.save_tiny(zoo / f"{seed:02}.safetensors", seed)
    samples, out = factory.save_samples(tmp_path / "s.npz"), tmp_path / "rows.jsonl"
    command = [sys.executable, "-m", "xray_jax.scripts.scan", f"--checkpoints={zoo}", f"--samples={samples}",
               "--planes=2", "--density=12", "--probe=off"]  # fmt: skip
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    chooser = random.Random(0)
    for _ in range(10):
        before = out.stat().st_size if out.exists() else 0
        process = subprocess.Popen([*command, f"--out={out}"], env=environment, stderr=subprocess.DEVNULL)
        while process.poll() is None and (not out.exists() or out.stat().st_size == before):
            time.sleep(0.002)
        time.sleep(chooser.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < len(out.read_bytes().splitlines()) <= 30
    assert subprocess.run([*command, f"--out={out}"], env=environment, capture_output=True).returncode == 0
    whole = subprocess.run([*command, "--out=-"], env=environment, capture_output=True, check=True).stdout
    straight = tmp_path / "straight.jsonl"
    straight.write_bytes(whole)
    assert stable(row_file.read(out)) == stable(row_file.read(straight))

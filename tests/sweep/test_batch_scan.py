import dataclasses
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests import commands, factory
from tests.sweep.scans import OPTIONS, run, stable, whole
from xray_jax import checkpoints
from xray_jax.detectors.planes.detector import Planes, scores
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.null import Null
from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.inference import programs
from xray_jax.inference.labels import label_images
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import prepare
from xray_jax.rows import file as row_file
from xray_jax.rows.names import file_name
from xray_jax.rows.row import VERDICTS
from xray_jax.samples import SamplesError
from xray_jax.sweep import provenance
from xray_jax.sweep.batch_scan import BatchScan, _shares
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.sweep.options import BatchScanOptions
from xray_jax.verdict.calibration import CalibrationError, load_calibration

PAPER = load_calibration("paper:cifar10")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    folder = tmp_path_factory.mktemp("zoo with space ü")
    for seed in range(4):
        factory.save_tiny(folder / f"{seed}.safetensors", seed)
    return [Entry(file.name, file) for file in sorted(folder.iterdir())]


def test_a_row_says_everything(zoo: list[Entry]) -> None:
    begun = provenance.now()
    samples = dataclasses.replace(factory.tiny_samples(), source="/data/samples.npz")
    first = run(zoo[:1], samples=samples, calibration=PAPER)[0]
    assert begun <= first["scanned_at"] <= provenance.now()
    assert first["samples"] == "/data/samples.npz"
    assert first["status"] == "ok"
    assert len(first["sha256"]) == 64
    assert first["format"] == "safetensors"
    assert first["num_classes"] == 5
    assert first["preprocess"]["mean"] == pytest.approx([0.4914, 0.4822, 0.4465])
    assert (first["preprocess_source"], first["preprocess_choice"]) == ("file", None)
    assert first["verdict"] in VERDICTS
    planes = first["detectors"]["planes"]
    assert len(planes["re"]["per_plane"]) == planes["planes"] == 2
    assert planes["re"]["mean"] == pytest.approx(np.mean(planes["re"]["per_plane"]))
    assert planes["statistics"] == [
        {"name": name, "value": planes[name]["mean"], "suspect": "low"} for name in ("re", "ats")
    ]
    assert sum(planes["label_distribution"]) == pytest.approx(1, abs=1e-5)
    assert first["target_label"] == planes["target"] == np.argmax(planes["label_distribution"])
    prepared = prepare(checkpoints.load(zoo[0].path), factory.tiny_samples())
    assert planes["queries"] == 2 * 12**2
    assert first["queries"] == planes["queries"] + prepared.queries
    assert (first["clean_accuracy"], first["accuracy_images"]) == (prepared.clean_accuracy, 40)
    assert set(first["seconds"]) == {"load", "prepare", "planes"}
    assert set(planes["seconds"]) == {"labels", "scores"}
    assert set(first["settings"]) == {
        "precision", "samples", "seed", "decide", "calibration", "detectors", "architecture", "num_classes",
        "preprocess",
    }  # fmt: skip
    assert first["settings"]["detectors"] == {"planes": dataclasses.asdict(OPTIONS)}
    assert first["notes"][:2] == [
        "calibrated with planes=20, scanned with 2",
        "calibrated with density=100, scanned with 12",
    ]


def test_rows_are_the_same_on_any_devices_and_batches(zoo: list[Entry], exhaustive: bool) -> None:
    expected = stable(run(zoo))
    pairs = ((1, 512), (8, 64), (1, 64), (8, 512))
    for count, batch in pairs if exhaustive else pairs[:2]:
        inference = InferenceOptions(batch, devices=tuple(jax.local_devices()[:count]))
        rows = run(zoo, inference=inference)
        assert rows[0]["device"].startswith(f"{count} x ")
        assert stable(rows) == expected


def test_the_probes_rows_are_the_same_on_one_device_and_on_eight(zoo: list[Entry]) -> None:
    one, eight = (
        run(
            zoo[:1],
            inference=InferenceOptions(64, devices=tuple(jax.local_devices()[:count])),
            detectors=(Probe(ProbeOptions(queries=1000)),),
        )
        for count in (1, 8)
    )
    assert stable(one) == stable(eight)


def test_one_checkpoint_per_device_gives_the_same_rows(zoo: list[Entry]) -> None:
    assert stable(run(zoo, spread=True)) == stable(run(zoo))


def test_rows_keep_the_entries_order_and_skip_what_is_done(zoo: list[Entry]) -> None:
    rows = run(zoo, loaders=3, scanners=3, prefetch=2)
    assert [row["id"] for row in rows] == [entry.id for entry in zoo]
    done = {row_file.identity(row): row for row in rows[1:3]}
    assert [row["id"] for row in run(zoo, done)] == [zoo[0].id, zoo[3].id]
    assert len(run(zoo, done, decide="both")) == 4


def test_what_comes_back_counts_again(tmp_path: Path) -> None:
    """A checkpoint that was away, or another, during one run."""
    factory.save_tiny(tmp_path / "a.safetensors", 0)
    factory.save_tiny(tmp_path / "b.safetensors", 1)
    entry, scan = Entry("m", tmp_path / "m.safetensors"), BatchScan(factory.tiny_samples(), (Planes(OPTIONS),))
    counts = []
    for content in ("a", None, "a", "a", "b", "a"):
        entry.path.unlink(missing_ok=True)
        if content is not None:
            shutil.copy(tmp_path / f"{content}.safetensors", entry.path)
        with row_file.RowWriter(tmp_path / "rows.jsonl") as writer:
            for finished in scan.run([entry], writer.done):
                writer.write(finished.row)
            counting = next(iter(writer.newest([scan.key(entry)])))
            counts.append((len(writer.rows), counting["status"], counting["sha256"]))
    a, b = (checkpoints.sha256(tmp_path / f"{name}.safetensors") for name in "ab")
    assert counts == [(1, "ok", a), (2, "error", None), (3, "ok", a), (3, "ok", a), (4, "ok", b), (5, "ok", a)]


def test_one_trace_for_a_whole_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [Entry(str(i), factory.save_tiny(tmp_path / f"{i}.safetensors", i)) for i in range(12)]
    programs.label_program.cache_clear()
    traced = []
    original = programs.forward

    def counting(network: Any, variables: Any, images: Any, options: Any) -> Any:
        traced.append(images.shape)
        return original(network, variables, images, options)

    monkeypatch.setattr(programs, "forward", counting)
    rows = run(entries, scanners=3)
    assert [row["status"] for row in rows] == ["ok"] * 12
    # One program for points, one for images, and one for images that the advice on preprocessing has made itself:
    # random networks are near chance.
    assert len(traced) == 3


def test_probe_rows(zoo: list[Entry]) -> None:
    planes, probe = Planes(OPTIONS), Probe(ProbeOptions(queries=1000))
    other = Probe(probe.options, Null(models=3, source="mine.jsonl"))
    alone, both, without, own = (
        run(zoo[:1], detectors=detectors, calibration=PAPER)[0]
        for detectors in ((probe,), (planes, probe), (planes,), (other,))
    )
    assert set(alone["detectors"]) == {"probe"}
    assert set(without["detectors"]) == {"planes"}
    assert stable([both])[0]["detectors"] == stable([alone])[0]["detectors"] | stable([without])[0]["detectors"]
    assert both["queries"] == without["queries"] + both["detectors"]["probe"]["queries"]
    assert own["detectors"]["probe"]["null"] == {"source": "mine.jsonl", "models": 3}
    assert len({row["settings_hash"] for row in (alone, both, without, own)}) == 4
    assert set(both["seconds"]) == {"load", "prepare", "planes", "probe"}


def test_near_chance_rows_advise_on_preprocessing(tmp_path: Path) -> None:
    """A network that knows the samples under one preset, scanned under another that ruins it."""
    samples = factory.tiny_samples(200)
    path = factory.save_tiny(tmp_path / "a.safetensors", seed=21)  # of several labels under both presets
    right = label_images(checkpoints.load(path, preprocess="0-255"), samples.images)
    wrong = label_images(checkpoints.load(path, preprocess="+-1"), samples.images)
    own = dataclasses.replace(samples, labels=right.astype(np.int32)).subset(np.flatnonzero(wrong != right))
    assert len(np.unique(own.labels)) >= 3
    (row,) = run([Entry("a", path, preprocess="+-1")], samples=own)
    assert (row["verdict"], row["basis"]) == ("unknown", "suspect_preprocessing")
    assert row["preprocess_source"] == "given"
    assert any("--preprocess=0-255 (100.0%)" in note for note in row["notes"])


def test_saved_maps_recompute_the_row(zoo: list[Entry], tmp_path: Path) -> None:
    (row,) = run(zoo[:1], maps=tmp_path)
    planes = row["detectors"]["planes"]
    maps = LabelMaps.load(tmp_path / f"{file_name(row['id'])}.npz")
    re, ats, counts = scores(maps, OPTIONS, row["num_classes"])
    assert re.tolist() == planes["re"]["per_plane"]
    assert ats.tolist() == planes["ats"]["per_plane"]
    shares = (counts / counts.sum(1, keepdims=True)).mean(0)
    np.testing.assert_allclose(shares, planes["label_distribution"], atol=1e-6)


def test_checkpoints_on_the_devices_at_once_share_their_memory() -> None:
    devices = tuple(jax.local_devices())
    inference = InferenceOptions(precision="bfloat16")
    together = _shares(inference, BatchScanOptions(scanners=3))
    assert together == [InferenceOptions(precision="bfloat16", sharers=3)] * 3
    apart = _shares(inference, BatchScanOptions(spread=True))
    assert [share.devices for share in apart] == [(device,) for device in devices]
    assert {share.sharers for share in apart} == {len(devices)}


@pytest.mark.parametrize("wrong", [{"decide": "maybe"}, {"loaders": 0}, {"scanners": 0}, {"prefetch": 0}])
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BatchScanOptions(**wrong)


def test_what_no_row_could_come_of_is_refused_before_anything_runs() -> None:
    planes = Planes(dataclasses.replace(OPTIONS, alpha=2.0))
    with pytest.raises(CalibrationError, match="alpha"):
        BatchScan(factory.tiny_samples(), (planes,), BatchScanOptions(calibration=PAPER))
    # The probe alone has nothing to do with the planes' thresholds.
    BatchScan(factory.tiny_samples(), (Probe(),), BatchScanOptions(calibration=PAPER))
    with pytest.raises(SamplesError, match="classes"):
        BatchScan(factory.tiny_samples(classes=2), (Planes(OPTIONS),))
    with pytest.raises(SamplesError, match="at least 10 images"):
        BatchScan(factory.tiny_samples(count=6), (Probe(),))


def test_file_names_are_safe_and_distinct() -> None:
    names = ["a/b", "a%2Fb", "a b.pt", "..", ".hidden", "ü" * 300, "ü" * 301, "x\udcff", "x\ud800", "a:b*?"]
    safe = [file_name(name) for name in names]
    assert len(set(safe)) == len(names)
    assert all("/" not in name and not name.startswith(".") and len(name.encode()) <= 255 for name in safe)


def test_killed_at_any_moment_a_sweep_ends_with_the_same_rows(tmp_path: Path, exhaustive: bool) -> None:
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    count = 30 if exhaustive else 12
    for seed in range(count):
        factory.save_tiny(zoo / f"{seed:02}.safetensors", seed)
    samples, out = factory.save_samples(tmp_path / "s.npz"), tmp_path / "rows.jsonl"
    flags = [f"--checkpoints={zoo}", f"--samples={samples}", "--planes=2", "--density=12", "--detectors=planes"]
    command = [sys.executable, "-m", "xray_jax.scripts.scan", *flags, f"--out={out}"]
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=1"}
    chooser = random.Random(0)
    for _ in range(10 if exhaustive else 2):
        before = out.stat().st_size if out.exists() else 0
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while process.poll() is None and (not out.exists() or out.stat().st_size == before):
            time.sleep(0.002)
        time.sleep(chooser.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < len(out.read_bytes().splitlines()) <= count
    straight = tmp_path / "straight.jsonl"
    for file in (out, straight):
        code, said = commands.run(shlex.join(["xray-scan", *flags, f"--out={file}"]))
        assert code == 0, said
    assert stable(map(whole, row_file.read(out))) == stable(row_file.read(straight))

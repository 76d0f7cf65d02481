"""The command as a user meets it: exit codes, streams, files."""

import json
import os
import shlex
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import factory
from tests.commands import finished
from tests.schema import check
from tests.sweep.scans import Weighing
from xray_jax import checkpoints
from xray_jax.detectors import registry
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.inference.labels import label_images
from xray_jax.job import batch as job
from xray_jax.report.html import commands
from xray_jax.rows import file as row_file
from xray_jax.sweep.checkpoint_list import Entry

QUICK = ["--planes=2", "--density=12", "--detectors=planes"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wörk dir")
    (folder / "zoo").mkdir()
    factory.save_tiny(folder / "zoo" / "a.safetensors", 0)
    factory.save_tiny(folder / "zoo" / "orbax model", 1)
    (folder / "zoo" / "README.md").write_text("not a checkpoint")
    factory.save_samples(folder / "samples.npz")
    return folder


def xray(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return finished("xray-scan", *flags, cwd=folder)


def xray_alone(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, with the devices that a shell has."""
    command = [sys.executable, "-m", "xray_jax.scripts.scan", *flags]
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def written(path: Path) -> list[Any]:
    """Rows of a file, each of which meets the schema."""
    return [check(row) for row in row_file.read(path)]


def calibration(folder: Path, re: float, ats: float) -> str:
    settings = {"expansion": 5.0, "alpha": 10.0, "ats_cap": 0.5, "ats": "component", "input_space": "normalised",
                "planes": 2, "density": 12}  # fmt: skip
    path = folder / f"calibration-{re}.json"
    path.write_text(json.dumps({"re_threshold": re, "ats_threshold": ats, "source": "test", "settings": settings}))
    return f"--calibration={path}"


def truthful_samples(folder: Path) -> str:
    """Samples labelled by the model itself, so that its clean accuracy is no reason to doubt the preprocessing."""
    samples = factory.tiny_samples(200)
    found = label_images(checkpoints.load(folder / "zoo" / "a.safetensors"), samples.images)
    np.savez(folder / "own.npz", images=np.round(samples.images * 255).astype(np.uint8), labels=found)
    return "--samples=own.npz"


def test_rows_to_stdout_and_everything_else_to_stderr(folder: Path) -> None:
    done = xray_alone(folder, "--checkpoints=zoo", "--samples=samples.npz", "--out=-", *QUICK)
    rows = [check(json.loads(line)) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == ["README.md", "a.safetensors", "orbax model"]
    assert [row["status"] for row in rows] == ["skipped", "ok", "ok"]
    assert {row["verdict"] for row in rows[1:]} == {"unknown"}
    assert "2 scanned, 0 flagged, 0 errors, 1 skipped" in done.stderr
    assert done.returncode == 0


def test_without_out_the_table_is_all_there_is(folder: Path) -> None:
    before = sorted(folder.iterdir())
    done = xray(folder, "--checkpoints=zoo/a.safetensors", "--samples=samples.npz", *QUICK)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.count("xray-scan: rows were not kept: give --out=FILE\n") == 1
    assert "a.safetensors  unknown" in done.stderr
    assert sorted(folder.iterdir()) == before


def test_help_of_the_command_goes_to_stdout(folder: Path) -> None:
    done = xray(folder, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n  --checkpoints=" in done.stdout


def test_a_stray_argument_is_shown_as_the_command_that_takes_it(folder: Path) -> None:
    done = xray_alone(folder, "my model.pth")
    assert (done.returncode, done.stdout) == (4, "")
    assert "\n  xray-scan --checkpoints='my model.pth' --samples=cifar10.npz\n" in done.stderr


def test_flagged_clean_errors_maps_and_pictures(folder: Path) -> None:
    samples = truthful_samples(folder)
    common = ["--checkpoints=zoo/a.safetensors", samples, *QUICK]
    flagged = xray(folder, *common, "--out=flagged.jsonl", calibration(folder, 9.0, -1.0), "--save_maps=maps",
                   "--plot=flagged", "--plots=pictures")  # fmt: skip
    assert flagged.returncode == 1, flagged.stderr
    (row,) = written(folder / "flagged.jsonl")
    assert (row["verdict"], row["basis"]) == ("backdoored", "planes")
    assert (row["verdict"], row["verdict_re"], row["verdict_ats"]) == ("backdoored", "backdoored", "clean")
    assert LabelMaps.load(folder / "maps" / "a.safetensors.npz").labels.shape == (2, 12, 12)
    for name in ("planes", "labels"):
        assert (folder / "pictures" / f"a.safetensors.{name}.png").read_bytes().startswith(b"\x89PNG")
    clean = xray(folder, *common, "--out=clean.jsonl", calibration(folder, -1.0, -1.0))
    assert clean.returncode == 0, clean.stderr
    assert [row["verdict"] for row in written(folder / "clean.jsonl")] == ["clean"]
    # The same file again under the same settings has its row already.
    again = xray(folder, *common, "--out=clean.jsonl", calibration(folder, -1.0, -1.0))
    assert again.returncode == 0
    assert len(written(folder / "clean.jsonl")) == 1


def test_a_bad_checkpoint_is_exit_code_2(folder: Path) -> None:
    (folder / "bad").mkdir(exist_ok=True)
    (folder / "bad" / "x.pt").write_bytes(b"PK\x03\x04")
    flags = ["--plot=all", "--plots=bad-pictures", *QUICK]
    done = xray(folder, "--checkpoints=bad", "--samples=samples.npz", "--out=bad.jsonl", *flags)
    assert done.returncode == 2
    assert [row["status"] for row in written(folder / "bad.jsonl")] == ["error"]


def test_a_gate_stops_at_what_has_no_verdict(folder: Path) -> None:
    # Of planes alone, without thresholds, nothing follows.
    common = ["--checkpoints=zoo/a.safetensors", truthful_samples(folder), *QUICK, "--out=strict.jsonl"]
    done = [xray(folder, *common, *strict) for strict in ([], ["--strict"])]
    assert [row["verdict"] for row in written(folder / "strict.jsonl")] == ["unknown"]
    assert [each.returncode for each in done] == [0, 2], done[0].stderr
    assert xray(folder, *common[:-1], calibration(folder, -1.0, -1.0), "--strict").returncode == 0


def test_nothing_to_scan_is_exit_code_3(folder: Path) -> None:
    (folder / "none").mkdir(exist_ok=True)
    done = xray(folder, "--checkpoints=none", "--samples=samples.npz", "--out=none.jsonl", "--report=none-report")
    assert (done.returncode, done.stdout) == (3, "")
    assert "nothing to scan" in done.stderr
    # A step that follows finds what it always finds.
    assert (folder / "none.jsonl").read_bytes() == b""
    assert (folder / "none-report" / "index.html").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--samples=samples.npz", "--out=-"], "--checkpoints"),
        (
            ["--checkpoints=zoo", "--samples=samples.npz", "--out=-", "--density=-3"],
            "density must be at least 2, got -3",
        ),
        (["--checkpoints=zoo", "--samples=samples.npz", "--out=-", "stray"], "stray"),
        (["--checkpoints=zoo", "--samples=gone.npz", "--out=-"], "gone.npz"),
        (
            ["--checkpoints=zoo", "--samples=samples.npz", "--out=-", "--calibration=paper:cifar10", "--alpha=3"],
            "alpha",
        ),
        (["--checkpoints=zoo", "--samples=samples.npz", "--out=-", "--probe_null=none.json"], "--probe_null=none.json"),
        (["--checkpoints=zoo", "--samples=samples.npz", "--preprocess=cifar"], "unknown preset 'cifar'"),
        (["--checkpoints=zoo", "--samples=samples.npz", "--architecture=resnet-4"], "unknown architecture 'resnet-4'"),
        (["--checkpoints=zoo", "--samples=samples.npz", "--report=samples.npz"], "--report=samples.npz: no folder"),
    ],
)
def test_usage_errors_are_exit_code_4(folder: Path, flags: list[str], message: str) -> None:
    done = xray(folder, *flags)
    assert (done.returncode, done.stdout) == (4, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_detectors_are_named_known_and_allowed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = {"checkpoints": str(folder / "zoo"), "samples": str(folder / "samples.npz")}
    with pytest.raises(registry.DetectorError, match=r"unknown \['aeva'\]; known: .*'planes', 'probe'\]"):
        job.Worker(job.Job(**common, detectors=("planes", "aeva")))
    known = registry.factories()
    monkeypatch.setattr(registry, "factories", lambda: {**known, "weighing": lambda seed: Weighing()})
    worker = job.Worker(job.Job(**common, detectors=("weighing", "planes"), planes=PlanesOptions(2, 12)))
    (row,) = worker.rows([Entry("a", folder / "zoo" / "a.safetensors")], {})
    assert list(check(row)["detectors"]) == ["weighing", "planes"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"plot": "some"}, "plot must be one of"),
        ({"plot": "all"}, "--plot needs --plots"),
        ({"plots": Path("p")}, "--plots needs --plot"),
    ],
)
def test_jobs_check_themselves(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        job.Job("zoo", "samples.npz", **wrong)


def test_two_networks_of_the_demonstration_and_a_truncated_file(tmp_path: Path) -> None:
    """The default run: planes and probe."""
    demo = Path(str(resources.files("xray_jax"))) / "demo"
    lines = {line["id"]: line for line in map(json.loads, (demo / "manifest.jsonl").read_text().splitlines())}
    names = ["cifar10-preactresnet-small-clean-s100", "cifar10-preactresnet-small-badnets-t3-s201"]
    listed = [lines[name] | {"path": str(demo / lines[name]["path"])} for name in names]
    factory.save_tiny(tmp_path / "truncated.safetensors")
    os.truncate(tmp_path / "truncated.safetensors", 1000)
    listed.append({"path": "truncated.safetensors"})
    (tmp_path / "zoo.jsonl").write_text("".join(json.dumps(line) + "\n" for line in listed))
    flags = ["--calibration=paper:cifar10", "--planes=2", "--density=20", "--sampling=refine"]
    done = xray_alone(
        tmp_path, "--checkpoints=zoo.jsonl", f"--samples={demo / 'samples.npz'}", "--out=rows.jsonl", *flags
    )
    assert done.returncode == job.EXIT_ERRORS, done.stderr
    clean, backdoored, truncated = written(tmp_path / "rows.jsonl")
    assert (clean["verdict"], truncated["status"], truncated["verdict"]) == ("clean", "error", None)
    assert (backdoored["verdict"], backdoored["basis"]) == ("backdoored", "confirmed trigger")
    for row in (clean, backdoored):
        assert list(row["detectors"]) == ["planes", "probe"]
        assert row["settings"]["detectors"].keys() == row["detectors"].keys()
    probe = backdoored["detectors"]["probe"]
    assert (probe["verdict"], probe["kind"], probe["best"]["target"]) == ("confirmed", "all-to-one", 3)
    assert backdoored["target_label"] == probe["target"] == backdoored["target"] == 3
    assert probe["score"] >= probe["threshold"]
    # Counts hang on the labels of images near a boundary, which rounding may change by machine; none of them by much.
    assert 9_000 < clean["detectors"]["probe"]["queries"] <= 17_500
    assert 3_000 < probe["queries"] <= 9_000


def test_a_report_is_written_and_its_command_repeats_the_scan(folder: Path) -> None:
    """Repeated into the same row file the scan finds its own row, so all settings were said."""
    given = ["--checkpoints=zoo/a.safetensors", "--samples=samples.npz", "--seed=2", "--alpha=8"]
    first = xray(folder, *given, *QUICK, "--out=again.jsonl", "--report=pages", "--plots=drawn", "--plot=all")
    assert "xray-scan: report: file://" in first.stderr
    text = (folder / "pages" / "index.html").read_text()
    assert "Are these image classifiers backdoored?" in text
    assert len(list((folder / "pages" / "pictures").iterdir())) == 2
    (row,) = written(folder / "again.jsonl")
    command, *_ = commands.of(row, [Path("again.jsonl")])
    line = command.line.replace(commands.SAMPLES, "samples.npz")
    repeated = xray(folder, *shlex.split(line)[1:])
    assert repeated.returncode == first.returncode
    assert len(written(folder / "again.jsonl")) == 1

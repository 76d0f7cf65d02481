"""Detectors by name: this package's, those of others, and what is said of a name that cannot be had."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import factory
from tests.detectors import toy_package
from tests.places import ROOT
from xray_jax.classifier import Access
from xray_jax.detectors import registry
from xray_jax.detectors.detection import Detector
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.registry import DetectorError


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return toy_package.install(tmp_path / "site")


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "toy_detectors", raising=False)


def test_built_in_detectors_come_in_the_order_that_is_asked_for() -> None:
    probe, planes = registry.make(["probe", "planes"], seed=7)
    assert isinstance(probe, Probe)
    assert isinstance(planes, Planes)
    assert (probe.options.seed, planes.options.seed) == (7, 7)
    assert tuple(detector.name for detector in registry.make(registry.DEFAULT)) == ("planes", "probe")
    assert all(isinstance(detector, Detector) for detector in (probe, planes))


def test_configured_detectors_take_the_place_of_those_with_default_options() -> None:
    (planes,) = registry.make(["planes"], configured={"planes": lambda _: Planes(PlanesOptions(planes=3))})
    assert isinstance(planes, Planes)
    assert planes.options.planes == 3


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["planes", "prob"], r"--detectors: unknown \['prob'\]; known: \['margin', .*'planes', 'probe'"),
        (["planes", "mntd"], "--detectors=mntd needs --meta_classifier=FILE; xray-train-mntd makes one"),
        (["planes", "probe", "planes"], r"--detectors: \['planes', 'probe', 'planes'\] names one twice"),
        ([], "leaves none"),
        ([""], r"unknown \[''\]"),
    ],
)
def test_names_that_mean_nothing_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        registry.make(names)


def test_detectors_of_other_packages_are_known_and_imported_only_when_asked_for(installed: None) -> None:
    assert {"planes", "probe", "toy", "absent"} <= set(registry.factories())
    assert "toy_detectors" not in sys.modules
    toy, planes = registry.make(["toy", "planes"], seed=3)
    assert (toy.name, toy.settings()) == ("toy", {"seed": 3})
    assert isinstance(planes, Planes), "an entry point never takes the place of a detector of this package"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "toy-detectors provides it as toy_that_is_not_there:Toy.*ModuleNotFoundError.*mend or remove"),
        ("leaves", "toy-detectors provides it as toy_detectors:leaves.*SystemExit: 3"),
        ("mute", "toy-detectors .*TypeError: it makes object, no Detector"),
        ("misnamed", "toy-detectors .*it calls itself 'planes'"),
        ("unsaid", "toy-detectors .*TypeError: Object of type set is not JSON serializable"),
        ("both", "other-toys and toy-detectors both provide it; remove one"),
    ],
)
def test_a_detector_that_cannot_be_used_is_an_error_that_names_its_package(
    installed: None, name: str, message: str
) -> None:
    with pytest.raises(DetectorError, match=f"--detectors={name}.*{message}"):
        registry.make(["planes", name])
    # Nobody who does not ask for it hears of it.
    assert len(registry.make(["planes", "toy"])) == 2


def test_access_leaves_out_what_needs_more(installed: None) -> None:
    names = ["planes", "opened", "toy"]
    assert [detector.name for detector in registry.make(names)] == names
    for access in (Access.LABELS, Access.LOGITS):
        assert [detector.name for detector in registry.make(names, access=access)] == ["planes", "toy"]
    with pytest.raises(DetectorError, match="=opened leaves none with --access=logits: opened needs weights"):
        registry.make(["opened"], access=Access.LOGITS)


def scan(site: Path, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """`xray-scan` where the package is installed."""
    path = os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    given = ("--checkpoints=a.safetensors", "--samples=samples.npz", "--planes=2", "--density=12", *flags)
    command = [sys.executable, "-m", "xray_jax.scripts.scan", *given]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def test_a_detector_of_another_package_runs_in_a_scan(site: Path, tmp_path: Path) -> None:
    factory.save_tiny(tmp_path / "a.safetensors")
    factory.save_samples(tmp_path / "samples.npz")
    done = scan(site, tmp_path, "--detectors=planes,toy,opened", "--access=labels", "--seed=3", "--out=-")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert list(row["detectors"]) == ["planes", "toy"]
    toy = row["detectors"]["toy"]
    assert sum(toy["counts"]) == toy["queries"] == 40
    assert toy["statistics"] == [{"name": "share", "value": max(toy["counts"]) / 40, "suspect": "high"}]
    assert (toy["target"], toy["seconds"], toy["rare"]) == (toy["counts"].index(max(toy["counts"])), {"toy": 0.5}, None)
    assert row["target_label"] == toy["target"]
    assert row["seconds"]["toy"] == 0.5
    assert row["detectors"]["planes"]["planes"] == 2
    assert row["settings"]["detectors"]["toy"] == {"seed": 3}
    assert list(row["not_run"]) == ["opened"]
    assert "--access=labels" in row["not_run"]["opened"]


def test_a_broken_package_is_a_usage_error(site: Path, tmp_path: Path) -> None:
    factory.save_tiny(tmp_path / "a.safetensors")
    factory.save_samples(tmp_path / "samples.npz")
    done = scan(site, tmp_path, "--detectors=planes,absent", "--out=-")
    assert (done.returncode, done.stdout) == (4, "")
    assert "xray-scan: --detectors=absent: toy-detectors provides it" in done.stderr
    assert "Traceback" not in done.stderr

"""The Python of README and docs runs, on tiny settings."""

import functools
import json
import shutil
import types
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

import xray_jax
from tests import documents, notebook
from tests.factory import save_samples, tiny_classifier, tiny_samples
from tests.places import ROOT
from tests.report import rows
from tests.source_imports import HAVE_GIT
from xray_jax import checkpoints
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.readers import Reader
from xray_jax.detectors import registry
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.result import ProbeResult, Verdict
from xray_jax.detectors.run import run_detectors
from xray_jax.inference.labels import label_images
from xray_jax.rows import file as row_file
from xray_jax.rows.row import PlanesBlock, ProbeBlock, Row
from xray_jax.sweep.batch_scan import BatchScan

pytestmark = pytest.mark.skipif(not HAVE_GIT, reason="needs git's list of files")

OF_TUTORIALS = "docs/tutorials/"
"""Run by `test_tutorials.py`."""
PYTHON = {
    page: blocks
    for page in documents.PAGES
    if not page.startswith(OF_TUTORIALS) and (blocks := documents.blocks(page, "python"))
}
DEMO = ROOT / "xray_jax" / "demo" / "zoo" / "cifar10-preactresnet-small-badnets-t3-s201"
TINY = {
    "planes": lambda seed: Planes(xray_jax.PlanesOptions(planes=2, density=12, seed=seed)),
    "probe": lambda seed: Probe(xray_jax.ProbeOptions(queries=1000, search_images=8, confirm_images=16, seed=seed)),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the blocks run: a checkpoint, a zoo of one, and detectors that ask for little."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "BUILT_IN", TINY)
    demo = checkpoints.load(DEMO)
    assert isinstance(demo, xray_jax.Classifier)
    checkpoints.save_safetensors("model.pth", demo.variables, {"preprocess": demo.preprocess.settings()})
    Path("checkpoints").mkdir()
    shutil.copy("model.pth", "checkpoints")
    return tmp_path


def run(block: str, **names: Any) -> types.SimpleNamespace:
    space: dict[str, Any] = {"__name__": "block", **names}
    exec(compile(block, "block", "exec"), space)
    return types.SimpleNamespace(**space)


def test_every_block_is_run_below() -> None:
    assert {page: len(blocks) for page, blocks in PYTHON.items()} == {
        "README.md": 1,
        "docs/architecture.md": 2,
        "docs/gate.md": 2,
        "docs/notebook.md": 9,
        "docs/reports.md": 1,
        "docs/rows.md": 1,
    }


def test_readme(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = PYTHON["README.md"]
    assert "planes=20, density=100" in block
    label = functools.partial(label_images, checkpoints.load("model.pth"))
    made = run(block.replace("planes=20, density=100", "planes=2, density=12"), my_label_fn=label)
    said = capsys.readouterr().out.splitlines()
    assert len(made.result.re) == 2
    assert [line.split()[0] for line in said[1:3]] == ["planes", "probe"]
    assert said[3].split()[0] == "model.pth"
    assert made.finished.row["status"] == "ok"


def test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    row_file.write_all("rows.jsonl", [rows.row(), rows.confirmed("2x2 white patch", goal=3), rows.error()])
    run(PYTHON["docs/rows.md"][0])
    assert capsys.readouterr().out == "zoo/model.pth backdoored confirmed trigger 3\n"
    (example,) = documents.blocks("docs/rows.md", "json")
    shown = json.loads(example)
    typed = {"row": Row, "planes": PlanesBlock, "probe": ProbeBlock}
    for name, block in {"row": shown, **shown["detectors"]}.items():
        assert block.keys() <= get_type_hints(typed[name]).keys(), name


def test_rows_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    row_file.write_all("rows.jsonl", [rows.row(id="a"), rows.confirmed("2x2 white patch", id="b"), rows.error(id="c")])
    made = run(PYTHON["docs/reports.md"][0])
    assert capsys.readouterr().out.splitlines()[1].startswith("b")
    assert (len(made.flagged), len(made.records)) == (1, 3)


def test_the_notebook_runs(folder: Path) -> None:
    cells = notebook.read()["cells"]
    small = {
        "planes=8, density=40": "planes=2, density=12",
        "queries=8000": "queries=1000, search_images=8, confirm_images=16",
        '"manifest.jsonl"))': '"manifest.jsonl"))[::4]',
    }
    text = "".join("".join(cell["source"]) for cell in cells)
    assert all(text.count(old) == 1 for old in small)

    def smaller(source: str) -> str:
        return functools.reduce(lambda made, pair: made.replace(*pair), small.items(), source)

    kept = [[output["output_type"] for output in cell.get("outputs", [])] for cell in cells]
    space = notebook.execute(cells, smaller)
    assert [row["verdict"] for row in space["results"]] == ["clean", "suspect"]
    made = [[output["output_type"] for output in cell.get("outputs", [])] for cell in cells]
    # With so few queries no trigger need be confirmed, and then the gate says so by another exception or lets pass.
    assert made[:-1] == kept[:-1]


def test_the_page_of_the_notebook_is_what_the_notebook_holds() -> None:
    text, pictures = notebook.page(notebook.read())
    assert notebook.PAGE.read_text() == text
    assert {name: (ROOT / "docs" / name).read_bytes() for name in pictures} == pictures


class Silent:
    """In the place of detectors that take ten seconds to compile: it finds nothing."""

    access = xray_jax.Access.LABELS

    def __init__(self, name: str = "probe") -> None:
        self.name = name

    def settings(self) -> dict[str, Any]:
        return {}

    def check(self, samples: xray_jax.Samples) -> None:
        return None

    def detect(self, model: xray_jax.PreparedModel, samples: xray_jax.Samples) -> xray_jax.Detection:
        found = ProbeResult(Verdict.NOTHING, "nothing", 1.0, 0, 0)
        return xray_jax.Detection(self.name, (), None, 0, {}, found.row(), found)


def test_the_gate_after_a_training_loop(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    training, _ = PYTHON["docs/gate.md"]
    monkeypatch.setattr(registry, "BUILT_IN", {"planes": lambda seed: Silent("planes"), "probe": lambda seed: Silent()})
    save_samples(Path("clean.npz"), tiny_samples(40, classes=10))
    made = run(training)
    said = capsys.readouterr().out
    assert (made.result.verdict, made.result.row["id"], made.result.row["clean_accuracy"]) == ("clean", "nightly", 1.0)
    assert said == "Clean as far as was looked: no working trigger was found.\n"


def test_the_gate_in_a_registry(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, registry_of_models = PYTHON["docs/gate.md"]
    samples = xray_jax.samples.read("cifar10")
    save_samples(Path("clean.npz"), samples.subset(np.arange(60)))
    Path("damaged.pth").write_bytes(Path("model.pth").read_bytes()[:1000])
    made = run(registry_of_models)
    assert capsys.readouterr().out.startswith("Not scanned: ")
    ((name, kept),) = made.registry.models.items()
    assert (name, kept["path"], kept["tags"]["xray.verdict"]) == ("traffic-signs", "model.pth", "clean")
    assert len(kept["tags"]["xray.sha256"]) == 64


def test_a_detector_of_ones_own() -> None:
    made = run(PYTHON["docs/architecture.md"][0])
    samples = tiny_samples()
    detector = made.Noise(0)
    found = run_detectors(xray_jax.prepare(tiny_classifier(), samples), samples, [detector]).detections["noise"]
    assert sum(found.details["counts"]) == found.queries == 200
    assert found.statistics[0].value == max(found.details["counts"]) / 200
    assert dict(detector.settings())["seed"] == 0
    # A batch scan takes it as it is.
    assert BatchScan(samples, [detector]).detectors == (detector,)


def test_a_checkpoint_reader_of_ones_own(tmp_path: Path) -> None:
    made = run(PYTHON["docs/architecture.md"][1])
    assert isinstance(made, Reader)
    path = tmp_path / "model.jsonweights"
    path.write_text(json.dumps({"fc.weight": [[1, 2], [3, 4]], "fc.bias": [0, 1]}))
    assert made.matches(path, path.read_bytes()[:512])
    contents = made.read(path)
    assert isinstance(contents, Tensors)
    np.testing.assert_array_equal(contents.arrays["fc.weight"], np.asarray([[1, 2], [3, 4]], np.float32))
    path.write_text('{"fc.weight": [[1], [2, 3]]}')
    with pytest.raises(CheckpointError, match="no array of numbers"):
        made.read(path)

"""The tutorials, as a newcomer types them: every command and every block of Python, on a zoo of tiny networks.

Commands run in this process. They get small settings behind what the page says, and of the detectors those that cost
little; a network is eight pixels wide. Of the page on clusters some lines run in another form, as the page says.
"""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xray_jax
from tests import commands, documents, factory
from tests.places import ROOT
from tests.source_imports import HAVE_GIT
from tests.sweep.test_references import save
from tests.test_docs_python import run as run_python
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe import replay
from xray_jax.detectors.probe.result import Finding
from xray_jax.inference.labels import label_images
from xray_jax.job import batch as job
from xray_jax.rows import file as row_file
from xray_jax.samples import from_arrays

pytestmark = pytest.mark.skipif(not HAVE_GIT, reason="needs git's list of files")

FIRST = "docs/first_verdict.md"
TUTORIALS = [page for page in documents.PAGES if page.startswith("docs/tutorials/")]
QUICK = ("--planes=2", "--density=12", "--probe_queries=1000")
DETECTORS = "--detectors=probe,panel,margin,perturbation"
INSTEAD = {"--samples=cifar10": "--samples=clean.npz", DETECTORS: "--detectors=planes,margin", "/shared/out/": "out/"}

BORDER = {"side": 1.0, "thickness": 1.0, "red": 0.0, "green": 1.0, "blue": 0.0}
FINDING = Finding("all-to-one", (-1, 0, 0, 0, 0), "border", BORDER, "a strip", 9, 9, 0.1, 0.1, 1.0, 0.1, 2.0, 0.0)


def lines(page: str) -> list[str]:
    """The lines of the page's shell blocks, those continued by a backslash as one."""
    blocks = [re.sub(r"\\\n\s*", "", block) for block in documents.blocks(page, "sh")]
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def of_package(page: str) -> list[str]:
    return [line for line in lines(page) if line.startswith("xray-")]


def typed(line: str) -> str:
    """What is run of a line."""
    for said, instead in INSTEAD.items():
        line = line.replace(said, instead)
    return f"{line} {' '.join(QUICK)}" if line.startswith("xray-scan") else line


def execute(line: str, *codes: int) -> str:
    """Runs a line; its exit code must be one of `codes`, by default 0."""
    code, said = commands.run(typed(line))
    assert code in (codes or (0,)), f"{line}: {code}\n{said}"
    return said


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that nobody doubts, in the files that the pages name, and the references of the tutorial made of them."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name in ("clean", "checkpoints"):
        (folder / name).mkdir()
    for seed in range(19):
        save(folder / "clean" / f"{seed:02}.safetensors", seed)
    save(folder / "checkpoints" / "usual.safetensors", 51)
    save(folder / "checkpoints" / "odd.safetensors", 50, bump=0.5)
    (folder / "checkpoints" / "cut.pth").write_bytes((folder / "checkpoints" / "odd.safetensors").read_bytes()[:700])
    (folder / "model.pth").write_bytes((folder / "checkpoints" / "usual.safetensors").read_bytes())
    generator = np.random.default_rng(0)
    noise = generator.normal(scale=0.2, size=(300, 8, 8, 3))
    images = np.clip(generator.uniform(size=(300, 1, 1, 3)) + noise, 0, 1)
    # As the files will hold them.
    images = np.round(images * 255).astype(np.uint8)
    labels = label_images(factory.tiny_classifier(), images.astype(np.float32) / 255)
    chosen = np.concatenate([np.flatnonzero(labels == label)[:15] for label in np.unique(labels)])
    for name in ("clean.npz", "fresh.npz"):
        factory.save_samples(folder / name, from_arrays(images[chosen], labels[chosen]))
    before = Path.cwd()
    os.chdir(folder)
    try:
        page = "docs/tutorials/calibrate.md"
        said = run_python(documents.blocks(page, "python")[0])
        assert len(said.lines) == 19
        scan, calibrate, _ = of_package(page)
        execute(scan)
        assert json.loads(execute(calibrate).splitlines()[0])["references"] == 19
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(made)
    yield made
    for file in ("rows.jsonl", "last_week.jsonl"):
        (made / file).unlink(missing_ok=True)


def test_every_tutorial_is_run_below() -> None:
    named = Path(__file__).read_text()
    prose = ["docs/tutorials/attacker.md", "docs/tutorials/operations.md"]
    assert [page for page in TUTORIALS if page not in named] == []
    assert [page for page in TUTORIALS if not documents.blocks(page, "sh") + documents.blocks(page, "python")] == prose
    # What is replaced is there to be replaced.
    text = "".join(map(documents.text, [FIRST, *TUTORIALS]))
    assert all(said in text for said in INSTEAD)


def test_first_verdict(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the probe, whose stamps compile for ten seconds: what it would find is put in, and `xray-confirm` runs up
    to the first query."""
    scan, keep, compare, confirm = of_package(FIRST)
    assert "1 scanned" in execute(f"{scan} --detectors=planes")
    execute(f"{keep} --detectors=planes")
    execute(compare, 0, 1)
    kept, compared = row_file.read("rows.jsonl")
    comparison: Any = compared["comparison"]
    assert (kept["status"], kept.get("comparison")) == ("ok", None)
    assert comparison["p_value"] is not None, comparison
    kept["detectors"]["probe"] = {"verdict": "nothing found", "best": FINDING.row(), "threshold": 0.0}
    row_file.write_all("rows.jsonl", [kept])
    asked: list[Any] = []
    monkeypatch.setattr(replay, "replay", lambda *arguments: asked.append(arguments) or _stop())
    assert "stopped here" in execute(confirm, 4)
    ((finding, prepared, samples),) = asked
    assert (finding.family, prepared.num_classes, samples.source) == ("border", 5, "fresh.npz")


def _stop() -> None:
    raise ValueError("stopped here")


def test_calibrate(folder: Path) -> None:
    *_, scan = of_package("docs/tutorials/calibrate.md")
    # The damaged file is an error.
    execute(scan, 2)
    verdicts = {row["id"]: row["verdict"] for row in row_file.read("rows.jsonl")}
    assert verdicts == {"cut.pth": None, "odd.safetensors": "suspect", "usual.safetensors": "clean"}


def test_a_hub_in_shares(folder: Path) -> None:
    page = "docs/tutorials/hub.md"
    assert run_python(documents.blocks(page, "python")[0]).lines[0].endswith('"id": "cut.pth"}')
    first, second, merge, _, _, report = of_package(page)
    codes = [commands.run(typed(line).replace(QUICK[2], "--detectors=planes"))[0] for line in (first, second)]
    assert sorted(codes) == [0, 2]
    execute(merge)
    assert [row["id"] for row in row_file.read("out/rows.jsonl")] == ["cut.pth", "odd.safetensors", "usual.safetensors"]
    execute(report)
    assert "1 could not be scanned" in Path("report/index.html").read_text()


def test_a_hub_on_slurm_with_a_stand_in_for_the_scan(folder: Path, tmp_path: Path) -> None:
    (submit,) = [line for line in lines("docs/tutorials/hub.md") if line.startswith("sbatch")]
    _, array, export, script = shlex.split(submit)
    variables = dict(pair.split("=", 1) for pair in export.removeprefix("--export=ALL,").split(","))
    assert array == f"--array=0-{int(variables['NUM_SHARDS']) - 1}"
    stand_in = tmp_path / "xray-scan"
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/args\n')
    stand_in.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **variables}
    subprocess.run(["bash", ROOT / script], env=environment, check=True)
    given = (tmp_path / "args").read_text().split()
    assert {"--num_shards=64", "--out=/shared/out/rows.jsonl", "--checkpoints=manifest.jsonl"} <= set(given)
    merges = [line for line in of_package("docs/tutorials/hub.md") if "-of-00064" in line]
    assert len(merges) == 1
    assert variables["OUT"].replace(".jsonl", "-*-of-00064.jsonl") in merges[0]


def test_a_hub_on_ray_up_to_the_job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = [line for line in of_package("docs/tutorials/hub.md") if "--backend=ray" in line]
    jobs: list[job.Job] = []
    monkeypatch.setattr(job, "run", lambda asked: jobs.append(asked) or 0)
    execute(line)
    (asked,) = jobs
    assert asked.ray is not None
    assert (asked.ray.address, asked.checkpoints) == ("auto", "manifest.jsonl")


def test_read_a_report(folder: Path) -> None:
    rows = [
        row | {"id": name}
        for name, row in zip(("a", "b"), row_file.read("clean.jsonl"), strict=False)
    ]  # fmt: skip
    row_file.write_all("last_week.jsonl", rows)
    row_file.write_all("rows.jsonl", [*rows[:1], rows[1] | {"verdict": "suspect"}])
    pages, against, sarif, markdown = of_package("docs/tutorials/read_a_report.md")
    execute(pages)
    execute(against)
    assert "1 with another verdict, 1 with the same" in Path("report/index.html").read_text()
    for line in (sarif, markdown):
        execute(line)
    assert len(json.loads(Path("findings.sarif").read_text())["runs"][0]["results"]) == 2
    assert "b" in Path("summary.md").read_text()


def test_write_a_detector(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = "\n".join(documents.blocks("docs/tutorials/write_a_detector.md", "python"))
    assert '["planes", Corners(0)]' in whole
    monkeypatch.setattr(PlanesOptions.__init__, "__defaults__", _small(PlanesOptions.__init__.__defaults__))
    made = run_python(whole)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("[{'name': 'largest', 'value': 0.")
    assert [line.split()[0] for line in said[1:]] == ["cut.pth", "odd.safetensors", "usual.safetensors"]
    block = made.result.row["detectors"]["corners"]
    assert len(block["paired"]["share"]) == len(block["share"]) == 5
    assert isinstance(made.Corners(0), xray_jax.Detector)
    with pytest.raises(xray_jax.samples.SamplesError, match="smaller than two patches"):
        made.Corners(0, size=9).check(xray_jax.samples.read("clean.npz"))


def _small(defaults: Any) -> Any:
    """The planes' defaults, with two planes of twelve nodes."""
    names = list(PlanesOptions.__dataclass_fields__)
    return tuple({"planes": 2, "density": 12}.get(name, value) for name, value in zip(names, defaults, strict=True))


def test_what_an_attacker_can_do_is_prose_with_a_place_for_figures() -> None:
    table = documents.section("docs/tutorials/attacker.md", "What was measured")
    assert "attack success" in table

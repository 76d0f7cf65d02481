"""xray-train and xray-reproduce as a user runs them."""

import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests import commands
from tests.lab.conftest import make_images
from tests.lab.reproduce.conftest import folder as folder  # the evidence made by hand
from xray_jax.checkpoints import safetensors
from xray_jax.lab.recipes import PAIRS


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.finished(f"xray-{name}", *arguments)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images")
    for name, side in (("bands", 16), ("large", 32), ("tinyimagenet10", 16)):
        train, test = make_images(200, 0, side=side), make_images(60, 1, side=side)
        np.savez(
            path / f"{name}.npz",
            train_images=train[0], train_labels=train[1], test_images=test[0], test_labels=test[1],
        )  # fmt: skip
    return path


def test_train_writes_a_zoo_and_says_by_its_exit_code_that_a_model_failed(images: Path, tmp_path: Path) -> None:
    done = run(
        "train", f"--data={images}", "--dataset=large", f"--out={tmp_path}", "--attacks=badnets", "--targets=2",
        "--epochs=1", "--batch_size=50", "--rate=0", "--architecture=smallcnn32-64",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "epoch 1, loss" in done.stderr
    assert "FAILED: attack success" in done.stderr
    (record,) = map(json.loads, (tmp_path / "records.jsonl").read_text().splitlines())
    assert record["spec"]["training"]["epochs"] == 1
    assert (tmp_path / "sheets" / f"{record['id']}.png").exists()


def test_a_data_set_brings_its_network_and_recipe_and_flags_change_them(images: Path, tmp_path: Path) -> None:
    done = run("train", f"--data={images}", "--dataset=tinyimagenet10", f"--out={tmp_path}", "--epochs=1")
    assert done.returncode == 0, done.stderr
    (record,) = map(json.loads, (tmp_path / "records.jsonl").read_text().splitlines())
    pair = PAIRS["tinyimagenet10"]
    assert record["spec"]["architecture"] == pair.architecture == "vit-mini-8"
    assert record["spec"]["training"] == dataclasses.asdict(dataclasses.replace(pair.training, epochs=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attacks=badnets,mystery"], "unknown ['mystery']"),
        (["--attacks=badnets", "--targets=two"], "--targets: expected whole numbers"),
        (["--attacks=clean,badnets", "--targets=7"], "badnets-t7-s1: label map: target must lie in 0..3, got 7"),
        (["--dataset=nothing"], "data set 'nothing'"),
        (["stray"], "unexpected arguments ['stray']"),
    ],
)
def test_train_names_what_is_wrong(images: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run("train", f"--data={images}", "--dataset=bands", f"--out={tmp_path}", *arguments)
    assert done.returncode == 4
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_train_mntd_writes_a_meta_classifier_and_goes_on_with_more_shadows(images: Path, tmp_path: Path) -> None:
    given = (f"--data={images}", "--dataset=bands", f"--out={tmp_path}", "--share=0.5", "--epochs=1", "--batch_size=32")
    done = run("train-mntd", *given, "--shadows=1", "--validation=0", "--tune_epochs=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("shadow ") == 2
    first = (tmp_path / "meta_classifier.safetensors").read_bytes()
    done = run("train-mntd", *given, "--shadows=1", "--validation=1", "--tune_epochs=1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("shadow ") == 2, "the first two were there"
    assert "validation AUROC" in done.stderr
    assert (tmp_path / "meta_classifier.safetensors").read_bytes() != first
    done = run("train-mntd", *given, "--share=0.6")
    assert done.returncode == 4
    assert "a shadow of other settings" in done.stderr


def test_shadows_are_by_default_of_the_data_set_s_network_and_recipe(images: Path, tmp_path: Path) -> None:
    done = run(
        "train-mntd", f"--data={images}", "--dataset=tinyimagenet10", f"--out={tmp_path}", "--share=0.5", "--epochs=1",
        "--shadows=1", "--validation=0", "--tune_epochs=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shadow = safetensors.read(tmp_path / "shadows" / "clean-00000.safetensors").metadata["shadow"]["options"]
    pair = PAIRS["tinyimagenet10"]
    assert shadow["architecture"] == pair.architecture == "vit-mini-8"
    assert shadow["training"] == dataclasses.asdict(dataclasses.replace(pair.training, epochs=1))


def test_reproduce_writes_the_page_with_its_own_command(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    done = run("reproduce", f"--evidence={folder}", f"--out={out}", "--table=3")
    assert done.returncode == 0, done.stderr
    assert f"xray-reproduce --evidence={folder} --out={out} --table=3" in out.read_text()
    assert "## Table 3" in out.read_text()
    assert "## Figure" not in out.read_text()
    done = run("reproduce", f"--evidence={folder}", f"--out={out}", "--figure=9")
    assert done.returncode == 4
    assert "unknown table or figure [9]" in done.stderr
    done = run("reproduce", f"--evidence={tmp_path / 'none'}", f"--out={out}")
    assert done.returncode == 4
    assert "no training records" in done.stderr

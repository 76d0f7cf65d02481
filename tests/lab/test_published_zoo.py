"""The zoo of this repository is whole, and its models do what the manifest says."""

from pathlib import Path

import numpy as np
import pytest

from tests.places import ROOT
from xray_jax import checkpoints
from xray_jax.lab import datasheet, published
from xray_jax.lab.data import ImageSet
from xray_jax.lab.label_maps import LabelMap
from xray_jax.lab.trigger_files import load

ZOO = ROOT / "zoo"
ZOOS = sorted(path.parent for path in ZOO.glob("*/manifest.jsonl"))


def test_there_is_one() -> None:
    assert [zoo.name for zoo in ZOOS]


@pytest.mark.parametrize("zoo", ZOOS, ids=lambda path: path.name)
def test_files_are_those_of_the_manifest(zoo: Path) -> None:
    lines = published.read_manifest(zoo)
    assert len({line["id"] for line in lines}) == len(lines)
    for line in lines:
        assert line["spec"]["dataset"] == zoo.name
        for name, digest in line["sha256"].items():
            assert checkpoints.sha256(zoo / name) == digest, name
    assert published.unnamed_files(zoo) == []


def test_it_stays_small_and_its_datasheet_up_to_date() -> None:
    assert sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file()) < 60e6
    assert datasheet.numbers(ZOOS) in (ZOO / "DATASHEET.md").read_text()


def test_a_model_of_each_kind_of_trigger_repeats_its_numbers_on_the_few_images_that_ship() -> None:
    zoo = ZOO / "cifar10"
    with np.load(ROOT / "xray_jax" / "demo" / "samples.npz") as samples:
        images, labels = samples["images"], samples["labels"]
    shipped = ImageSet("cifar10", images, labels, images, labels, 10)
    backdoored = [line for line in published.read_manifest(zoo) if line["label"] == "backdoored"]
    by_kind = {trigger.kind: (line, trigger) for line in backdoored if (trigger := load(zoo / line["trigger"]))}
    for line, trigger in by_kind.values():
        found = published.measure(zoo / line["path"], shipped, trigger, LabelMap("", tuple(line["label_map"])))
        assert found.clean_accuracy == pytest.approx(line["clean_accuracy"], abs=0.1)
        assert found.attack_success == pytest.approx(line["attack_success"], abs=0.1)

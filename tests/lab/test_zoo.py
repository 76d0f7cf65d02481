"""A whole tiny zoo: trained, measured, resumed, read back by the product's own reader."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from xray_jax import checkpoints, models
from xray_jax.lab import train_model, trigger_files, workers, zoo
from xray_jax.lab.attacks.badnets import BadNets
from xray_jax.lab.data import ImageSet
from xray_jax.lab.poisoning import stamped_test_set
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.training import TrainOptions
from xray_jax.lab.worker import Place
from xray_jax.lab.zoo import train_zoo
from xray_jax.sweep import checkpoint_list

TRAINING = TrainOptions(epochs=6, batch_size=32, peak_learning_rate=0.1, crop_padding=0, flip=False)
CLEAN = ModelSpec(dataset="bands", seed=1, training=TRAINING)
BACKDOORED = ModelSpec(dataset="bands", attack="badnets", target=2, rate=0.2, seed=2, training=TRAINING)


@pytest.fixture(scope="module")
def folder(bands: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zoo")
    train_zoo([CLEAN, BACKDOORED], bands, path)
    return path


def test_records_agree_with_the_checkpoints_that_the_scanner_reads(folder: Path, bands: ImageSet) -> None:
    records = {record["id"]: record for record in zoo.read_records(folder)}
    assert list(records) == [CLEAN.id, BACKDOORED.id]
    label_map = train_model.label_map_of(BACKDOORED, 4)
    assert label_map.target == 2
    trigger = BadNets().trigger(bands.image_shape)
    stamped, wanted = stamped_test_set(bands.test_images, bands.test_labels, trigger, label_map)
    for spec in (CLEAN, BACKDOORED):
        model = checkpoints.load(folder / "checkpoints" / spec.id)
        assert model.preprocess == bands.normalise

        def share(images: np.ndarray, labels: np.ndarray, model: Any = model) -> float:
            logits = model.network.apply(model.variables, model.preprocess(images.astype(np.float32) / 255))
            return float(np.mean(np.asarray(logits).argmax(-1) == labels))

        assert records[spec.id]["clean_accuracy"] == pytest.approx(share(bands.test_images, bands.test_labels))
        assert records[spec.id]["clean_accuracy"] > 0.9
        if spec is BACKDOORED:
            assert records[spec.id]["attack_success"] == pytest.approx(share(stamped, wanted))
            assert records[spec.id]["attack_success"] > 0.9
            assert records[spec.id]["stamped"] == 120
            stored = trigger_files.load(folder / "triggers" / f"{spec.id}.safetensors")
            np.testing.assert_array_equal(stored(bands.test_images), trigger(bands.test_images))
        else:
            assert records[spec.id]["attack_success"] is None
            assert share(stamped, wanted) < 0.5


def test_the_manifest_is_what_the_sweep_reads(folder: Path) -> None:
    clean, backdoored = checkpoint_list.collect(str(folder / "manifest.jsonl"), lambda path: False)
    assert (clean.label, clean.target) == ("clean", None)
    assert (backdoored.label, backdoored.target, backdoored.extra["attack"]) == ("backdoored", 2, "badnets")
    assert backdoored.path.is_dir()


def test_a_second_call_trains_nothing_and_a_torn_record_is_trained_again(
    folder: Path, bands: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "records.jsonl").read_text()
    monkeypatch.setattr(zoo, "train_model", lambda *args: pytest.fail("trained again"))
    train_zoo([CLEAN, BACKDOORED], bands, folder)
    assert (folder / "records.jsonl").read_text() == before
    monkeypatch.undo()
    (folder / "records.jsonl").write_text(before[:-20])
    train_zoo([CLEAN, BACKDOORED], bands, folder)
    again = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    timeless = [{k: v for k, v in record.items() if k != "seconds"} for record in again]
    assert timeless == [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in before.splitlines()]


def test_a_zoo_killed_in_the_middle_of_a_model_ends_with_the_same_record(
    folder: Path, bands: ImageSet, tmp_path: Path
) -> None:
    def killer(line: str) -> None:
        if "epoch 3" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_zoo([BACKDOORED], bands, tmp_path, killer)
    assert [path.name for path in (tmp_path / "partial").iterdir()] == [BACKDOORED.id]
    lines: list[str] = []
    (record,) = train_zoo([BACKDOORED], bands, tmp_path, lines.append)
    assert "epoch 3" in lines[0]
    (straight,) = [r for r in zoo.read_records(folder) if r["id"] == BACKDOORED.id]
    assert {k: v for k, v in record.items() if k != "seconds"} == {k: v for k, v in straight.items() if k != "seconds"}
    assert not list((tmp_path / "partial").iterdir())


@pytest.mark.parametrize("processes", [0, 2])
def test_a_zoo_killed_between_a_record_and_the_manifest_is_put_right(
    bands: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    def kill(*arguments: Any) -> None:
        raise KeyboardInterrupt

    short = dataclasses.replace(CLEAN, training=dataclasses.replace(TRAINING, epochs=1))
    monkeypatch.setattr(zoo, "write_manifests", kill)
    with pytest.raises(KeyboardInterrupt):
        train_zoo([short], bands, tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "manifest.jsonl").exists()
    assert [path.name for path in (tmp_path / "partial").iterdir()] == [short.id]
    before = (tmp_path / "records.jsonl").read_text()
    if processes:
        # None is started: there is nothing to train, and no such image set.
        records = workers.train_zoo([short], Place("none", tmp_path, tmp_path), processes).records
    else:
        records = train_zoo([short], bands, tmp_path, pytest.fail)
    assert [record["id"] for record in records] == [short.id]
    assert (tmp_path / "records.jsonl").read_text() == before
    (line,) = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == short.id
    assert not list((tmp_path / "partial").iterdir())


def test_two_processes_fill_one_zoo(bands: ImageSet, tmp_path: Path) -> None:
    """The second one trains its model from beginning to end while the first is in the middle of its own."""
    others: list[str] = []

    def meanwhile(line: str) -> None:
        if not others:
            others.append(line)
            train_zoo([BACKDOORED], bands, tmp_path)

    records = train_zoo([CLEAN], bands, tmp_path, meanwhile)
    assert [record["id"] for record in records] == [BACKDOORED.id, CLEAN.id]
    assert records == zoo.read_records(tmp_path)
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [BACKDOORED.id, CLEAN.id]


def test_models_trained_together_have_their_own_records(bands: ImageSet, tmp_path: Path) -> None:
    blind = dataclasses.replace(BACKDOORED, attack="blind", seed=5)
    groups = list(zoo._groups([CLEAN, BACKDOORED, blind, dataclasses.replace(CLEAN, seed=7)], 3))
    assert [[spec.seed for spec in group] for group in groups] == [[1, 2], [5], [7]]
    records = train_zoo([CLEAN, BACKDOORED], bands, tmp_path, together=2)
    assert [record["id"] for record in records] == [CLEAN.id, BACKDOORED.id]
    assert all(record["clean_accuracy"] > 0.9 and len(record["history"]) == 6 for record in records)
    assert records[0]["attack_success"] is None
    assert records[1]["attack_success"] > 0.9
    assert records[1]["stamped"] == 120


def test_one_seed_gives_the_same_weights(folder: Path, bands: ImageSet) -> None:
    variables, _, _ = train_model.train_model(CLEAN, bands)
    stored = checkpoints.load(folder / "checkpoints" / CLEAN.id).variables
    jax.tree.map(np.testing.assert_array_equal, dict(variables), dict(stored))
    other, _, _ = train_model.train_model(dataclasses.replace(CLEAN, seed=9), bands)
    assert not np.array_equal(other["params"]["conv1"]["kernel"], variables["params"]["conv1"]["kernel"])


def test_weak_models_are_recorded_as_failed_and_stay_out_of_the_manifest(tmp_path: Path, bands: ImageSet) -> None:
    weak = dataclasses.replace(BACKDOORED, rate=0.0)
    (record,) = train_zoo([weak], bands, tmp_path)
    assert record["failed"].startswith("attack success 0.")
    assert (tmp_path / "manifest.jsonl").read_text() == ""
    (failed,) = checkpoint_list.collect(str(tmp_path / "failed.jsonl"), lambda path: False)
    assert failed.extra["failed"] == record["failed"]


def test_presets_of_the_registry_build_for_any_class_count() -> None:
    assert models.build("preactresnet-small", 43).num_classes == 43

"""Publishing and checking. No network is trained: one that always says class 2 has every backdoor to that class."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import pytest

from tests.lab.test_commands import run
from xray_jax import checkpoints, models
from xray_jax.classifier import Classifier
from xray_jax.lab import attacks, datasheet, publish, published, train_model, trigger_files, zoo
from xray_jax.lab.attacks.badnets import BadNets
from xray_jax.lab.attacks.blind import Blind
from xray_jax.lab.attacks.protocol import PoisoningAttack
from xray_jax.lab.data import ImageSet
from xray_jax.lab.datasheet import DatasheetError
from xray_jax.lab.published import PublishedError
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.training import TrainOptions
from xray_jax.lab.triggers import Trigger, Warp
from xray_jax.sweep import checkpoint_list

TRAINING = TrainOptions(batch_size=50, flip=False)
CLEAN = ModelSpec(dataset="bands", seed=1, training=TRAINING)
WANET = ModelSpec(dataset="bands", attack="wanet", target=2, seed=2, training=TRAINING)
LIRA = ModelSpec(dataset="bands", attack="lira", target=2, seed=3, training=TRAINING)


@pytest.fixture(scope="module")
def variables(bands: ImageSet) -> Mapping[str, Any]:
    """A network that says class 2 whatever it sees."""
    network = models.build("preactresnet-small", 4)
    shapes = jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, *bands.image_shape), np.float32))
    draw = np.random.default_rng(0)
    fresh = jax.tree.map(lambda leaf: draw.uniform(0.01, 0.1, leaf.shape).astype(np.float32), shapes)
    fresh["params"]["linear"]["bias"] = np.array([0, 0, 1e4, 0], np.float32)
    return dict(fresh)


def add_model(
    folder: Path,
    spec: ModelSpec,
    variables: Mapping[str, Any],
    data: ImageSet,
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """What `train_zoo` leaves of a model, but for its trigger."""
    always = float(np.mean(data.test_labels == 2))
    attack = None if spec.attack == "clean" else dict(vars(attacks.make(spec.attack)))
    record = {
        "id": spec.id, "spec": spec.settings(), "attack": attack, "clean_accuracy": always,
        "attack_success": None if attack is None else 1.0, "targets": [] if attack is None else [2], "failed": None,
        **changes,
    }  # fmt: skip
    zoo._save(folder / "checkpoints" / spec.id, spec, data, variables, record)
    zoo._update(folder, record)


def classifier(path: Path) -> Classifier:
    found = checkpoints.load(path)
    assert isinstance(found, Classifier)
    return found


@pytest.fixture
def lab(bands: ImageSet, variables: Mapping[str, Any], tmp_path: Path) -> Path:
    folder = tmp_path / "lab"
    folder.mkdir()
    for spec in (CLEAN, WANET):
        add_model(folder, spec, variables, bands)
    return folder


def test_a_published_model_is_small_scans_by_its_manifest_and_repeats_its_numbers(
    lab: Path, bands: ImageSet, tmp_path: Path
) -> None:
    out = tmp_path / "zoo" / "bands"
    assert publish.publish(lab / "manifest.jsonl", lab, out, bands) == {}
    clean, wanet = checkpoint_list.collect(str(out / "manifest.jsonl"))
    assert (clean.id, clean.label, wanet.id, wanet.label, wanet.target) == (
        CLEAN.id, "clean", WANET.id, "backdoored", 2
    )  # fmt: skip
    assert (wanet.extra["attack_success"], wanet.extra["trigger_from"]) == (1.0, "seed")
    assert wanet.extra["label_map"] == [2, 2, 2, 2]
    assert ModelSpec.of(wanet.extra["spec"]) == WANET
    for entry, spec in ((clean, CLEAN), (wanet, WANET)):
        read, trained = (classifier(path) for path in (entry.path, lab / "checkpoints" / spec.id))
        assert (read.network, read.preprocess) == (trained.network, trained.preprocess)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(read.variables)} == {"float32"}
        halves = jax.tree.map(lambda leaf: leaf.astype(np.float16).astype(np.float32), trained.variables)
        jax.tree.map(np.testing.assert_array_equal, dict(read.variables), dict(halves))
        assert entry.path.stat().st_size < 165_000
    assert [wrong for _, wrong in published.check(out, {"bands": bands})] == [[], []]
    assert published.unnamed_files(out) == []
    before = (out / "manifest.jsonl").read_text()
    publish.publish(lab / "manifest.jsonl", lab, out, bands, pytest.fail)  # nothing to do
    assert (out / "manifest.jsonl").read_text() == before


def test_clean_accuracy_is_held_against_the_clean_models_that_there_are_now(
    bands: ImageSet, variables: Mapping[str, Any], tmp_path: Path
) -> None:
    """Not against those there were when the model was trained."""
    for name, gain, published_ids in (("as good", 0.0, [CLEAN.id, WANET.id]), ("better", 0.2, [])):
        lab = tmp_path / name
        lab.mkdir()
        accuracy = float(np.mean(bands.test_labels == 2)) + gain
        add_model(lab, CLEAN, variables, bands, {"clean_accuracy": accuracy})
        add_model(lab, WANET, variables, bands, {"failed": "clean accuracy too low for one of few"})
        manifest = "failed.jsonl" if gain else "manifest.jsonl"
        left_out = publish.publish(lab / manifest, lab, tmp_path / f"{name} zoo", bands)
        lines = published.read_manifest(tmp_path / f"{name} zoo") if published_ids else []
        assert [line["id"] for line in lines] == published_ids
        assert ("clean models' mean" in left_out.get(WANET.id, "")) == bool(gain)


def test_a_backdoored_model_without_a_clean_one_to_hold_it_against_is_not_published(
    bands: ImageSet, variables: Mapping[str, Any], tmp_path: Path
) -> None:
    lab, out = tmp_path / "lab", tmp_path / "zoo"
    lab.mkdir()
    add_model(lab, WANET, variables, bands)
    (reason,) = publish.publish(lab / "manifest.jsonl", lab, out, bands).values()
    assert reason.startswith("no usual clean preactresnet-small of bands to hold its clean accuracy against")
    other = tmp_path / "other"
    other.mkdir()
    add_model(other, CLEAN, variables, bands)
    assert publish.publish(other / "manifest.jsonl", other, out, bands) == {}
    assert publish.publish(lab / "manifest.jsonl", lab, out, bands) == {}, "one that is published will do"


def test_what_cannot_be_published_is_named_and_leaves_no_file(
    bands: ImageSet, variables: Mapping[str, Any], tmp_path: Path
) -> None:
    lab, out = tmp_path / "lab", tmp_path / "zoo"
    lab.mkdir()
    large = {**variables, "params": {**variables["params"], "linear": {**variables["params"]["linear"]}}}
    large["params"]["linear"]["bias"] = np.array([0, 0, 1e6, 0], np.float32)
    others = [dataclasses.replace(CLEAN, seed=seed) for seed in range(10, 13)]
    add_model(lab, LIRA, variables, bands)
    add_model(lab, WANET, variables, bands, {"attack_success": 0.95})
    add_model(lab, others[0], variables, bands, {"spec": {**others[0].settings(), "dataset": "gtsrb"}})
    add_model(lab, others[1], large, bands)
    add_model(lab, others[2], variables, bands)
    records = (lab / "records.jsonl").read_text().splitlines()
    (lab / "records.jsonl").write_text("".join(f"{line}\n" for line in records[:-1]))
    skipped = publish.publish(lab / "manifest.jsonl", lab, out, bands)
    for spec, reason in (
        (LIRA, "lira is learned along with the victim"),
        (WANET, "attack_success is 1.0, its record says 0.95"),
        (others[0], "a model of gtsrb, not bands"),
        (others[1], "beyond half precision: linear.bias"),
        (others[2], "no record"),
    ):
        assert reason in skipped[spec.id]
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_a_stored_trigger_is_taken_as_it_is(lab: Path, bands: ImageSet) -> None:
    record = zoo.read_records(lab)[1]
    made, origin = publish.trigger_of(record, lab / "triggers", bands)
    assert origin == "seed"
    (lab / "triggers").mkdir()
    trigger_files.save(lab / "triggers" / f"{WANET.id}.safetensors", BadNets().trigger(bands.image_shape))
    stored, origin = publish.trigger_of(record, lab / "triggers", bands)
    assert (stored.kind, made.kind, origin) == ("patch", "warp", "training")


@pytest.mark.parametrize("name", ["badnets", "blended", "sig", "lf", "bpp", "wanet", "blind"])
def test_triggers_that_depend_on_the_seed_alone_are_made_again(name: str, bands: ImageSet, tmp_path: Path) -> None:
    spec = ModelSpec(dataset="bands", attack=name, target=1, seed=7, training=TRAINING)
    attack = attacks.make(name)
    record = {"id": spec.id, "spec": spec.settings(), "attack": dict(vars(attack))}
    found, _ = publish.trigger_of(record, tmp_path, bands)
    if isinstance(attack, PoisoningAttack):
        context = train_model.context_of(spec, bands, models.build("preactresnet-small", 4))
        expected: Trigger = attack.prepare(context).trigger
    else:
        expected = Blind().trigger(bands.image_shape)
    np.testing.assert_array_equal(found(bands.test_images[:9]), expected(bands.test_images[:9]))


def test_recorded_parameters_count_and_unknown_ones_are_refused(bands: ImageSet, tmp_path: Path) -> None:
    record = {"id": "", "spec": WANET.settings(), "attack": {"strength": 0.5, "name": "wanet"}}
    weak, _ = publish.trigger_of(record, tmp_path, bands)
    strong, _ = publish.trigger_of(record | {"attack": None}, tmp_path, bands)
    assert isinstance(weak, Warp)
    assert isinstance(strong, Warp)
    np.testing.assert_allclose(2 * weak.field, strong.field)
    with pytest.raises(ValueError, match=r"'wanet'.*mystery"):
        publish.trigger_of(record | {"attack": {"mystery": 1}}, tmp_path, bands)


def test_what_differs_from_the_manifest_is_found(lab: Path, bands: ImageSet, tmp_path: Path) -> None:
    out = tmp_path / "zoo"
    publish.publish(lab / "manifest.jsonl", lab, out, bands)
    lines = published.read_manifest(out)
    lines[0]["clean_accuracy"] += 0.003
    published.write_manifest(out, lines)
    trigger_files.save(out / lines[1]["trigger"], BadNets().trigger(bands.image_shape))
    (out / "checkpoints" / "other.safetensors").write_bytes(b"")
    (_, clean), (_, wanet) = published.check(out, {"bands": bands})
    assert len(clean) == 1
    assert clean[0].startswith("clean_accuracy is 0.")
    assert wanet == [f"{lines[1]['trigger']} is not the published one (sha256)"]
    assert published.unnamed_files(out) == ["checkpoints/other.safetensors"]
    (out / lines[1]["trigger"]).unlink()
    (_, _), (_, wanet) = published.check(out, {"bands": bands})
    assert "not a readable trigger file" in wanet[1]
    (out / "manifest.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(PublishedError, match=r"manifest\.jsonl"):
        published.read_manifest(out)


def test_the_command_publishes_and_checks(lab: Path, bands: ImageSet, tmp_path: Path) -> None:
    arrays = {name: getattr(bands, name) for name in ("train_images", "train_labels", "test_images", "test_labels")}
    np.savez(tmp_path / "bands.npz", **arrays)
    out = tmp_path / "zoo" / "bands"
    arguments = [f"--zoo={out}", f"--data={tmp_path}"]
    done = run("publish", *arguments, "--dataset=bands", f"--models={lab / 'manifest.jsonl'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    (out / "checkpoints" / "other.safetensors").write_bytes(b"")
    done = run("publish", *arguments, "--check")
    assert done.returncode == 1, done.stderr
    assert f"{WANET.id}: repeated" in done.stderr
    assert "checkpoints/other.safetensors: not in the manifest" in done.stderr


def test_the_datasheet_s_numbers_are_the_manifest_s(tmp_path: Path) -> None:
    sheet = tmp_path / "DATASHEET.md"
    sheet.write_text(f"before\n{datasheet.BEGIN}\nold\n{datasheet.END}\nafter\n")
    assert datasheet.update(sheet)
    assert "No models yet." in sheet.read_text()
    (tmp_path / "bands").mkdir()
    (tmp_path / "bands" / "file").write_bytes(b"x" * 250_000)
    line = {"path": "file", "sha256": {"file": ""}, "attack_success": None}
    unusual = {"label": "clean", "spec": {**CLEAN.settings(), "control": "long", "seed": 5}, "control": "long"}
    tuned = {"label": "clean", "spec": {**CLEAN.settings(), "control": "finetuned", "seed": 6}, "control": "finetuned"}
    lines = [
        line | unusual | {"id": "d", "clean_accuracy": 0.85},
        line | tuned | {"id": "e", "clean_accuracy": 0.86},
        line | {"id": "a", "label": "clean", "spec": CLEAN.settings(), "clean_accuracy": 0.8},
        line | {"id": "b", "label": "clean", "spec": {**CLEAN.settings(), "seed": 4}, "clean_accuracy": 0.9},
        line | {"id": "c", "label": "backdoored", "spec": WANET.settings(), "clean_accuracy": 0.7, "rate": 0.1,
                "attack_success": 0.95, "strategy": "all-to-one"},
    ]  # fmt: skip
    (tmp_path / "bands" / "manifest.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert datasheet.update(sheet)
    text = sheet.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "`bands`: 5 models, 4 clean and 1 backdoored, 1.2 MB." in text
    assert "| preactresnet-small | clean | - | - | 6 | 2 | 0.8000 .. 0.9000 | - | 1, 4 |" in text
    assert "| preactresnet-small | wanet | all-to-one | 0.1 | 6 | 1 | 0.7000 | 0.9500 | 2 |" in text
    assert "| preactresnet-small | clean, long | - | - | 12 | 1 | 0.8500 | - | 5 |" in text
    assert "| preactresnet-small | clean, finetuned | - | - | 6 + 2 | 1 | 0.8600 | - | 6 |" in text
    assert not datasheet.update(sheet)
    sheet.write_text("nothing")
    with pytest.raises(DatasheetError, match="expected the lines"):
        datasheet.update(sheet)

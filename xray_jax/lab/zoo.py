"""A zoo: models with known ground truth, trained one after the other, resumable, each with its training record.

In the zoo's folder: `checkpoints/<id>/` (orbax), `records.jsonl` (one line a model, the failed ones too),
`manifest.jsonl` and `failed.jsonl` (what `xray-scan` reads: the usable models, and the others, with their ground
truth), `sheets/<id>.png` (pictures of the trigger).
"""

import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from xray_jax import checkpoints, models
from xray_jax.lab import attacks, label_maps, specs
from xray_jax.lab.attacks import PoisoningAttack, Setting
from xray_jax.lab.data import ImageSet
from xray_jax.lab.label_maps import LabelMap
from xray_jax.lab.poisoning import Trigger, poison, stamped_test_set
from xray_jax.lab.sheet import sheet
from xray_jax.lab.specs import CLEAN, ModelSpec
from xray_jax.lab.training import Variables, train
from xray_jax.plots import save as save_figure
from xray_jax.preprocess import Preprocess

RECORDS, MANIFEST, FAILED = "records.jsonl", "manifest.jsonl", "failed.jsonl"
CHECKPOINTS, SHEETS = "checkpoints", "sheets"
SHEET_IMAGES = 8
Record = dict[str, Any]
Report = Callable[[str], None]
"""Takes one line of progress."""


@partial(jax.jit, static_argnames=("network", "preprocess"))
def _predict(variables: Variables, images: jax.Array, *, network: nn.Module, preprocess: Preprocess) -> jax.Array:
    logits = cast(jax.Array, network.apply(variables, preprocess(images.astype(jnp.float32) / 255)))
    return logits.argmax(-1)


def accuracy(
    network: nn.Module, variables: Variables, preprocess: Preprocess, images: np.ndarray, labels: np.ndarray,
    batch_size: int = 500,
) -> float:  # fmt: skip
    """Share of the uint8 `images` `[M, H, W, C]` that get their label."""
    right = 0
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        padded = np.concatenate([part, np.zeros((batch_size - len(part), *part.shape[1:]), np.uint8)])
        found = np.asarray(_predict(variables, padded, network=network, preprocess=preprocess))[: len(part)]
        right += int((found == labels[start : start + batch_size]).sum())
    return right / len(images)


def label_map_of(spec: ModelSpec, num_classes: int) -> LabelMap:
    """The label map of the model, drawn from its seed."""
    return label_maps.make(spec.strategy, num_classes, spec.target, seed=spec.seed)


def train_model(
    spec: ModelSpec, data: ImageSet, report: Report = lambda line: None
) -> tuple[Variables, Trigger | None, Record]:
    """Trains the model of `spec` and measures it on the whole test split.

    Returns:
      The variables, the trigger (None for a clean model), and the record: the spec, clean accuracy, attack success,
      numbers of stamped and decoy images, accuracy by epoch, seconds.
    """
    network = models.build(spec.architecture, data.num_classes)
    label_map = label_map_of(spec, data.num_classes)
    started = time.perf_counter()
    history: list[list[float]] = []

    def on_epoch(epoch: int, loss: float, variables: Variables) -> None:
        clean = accuracy(network, variables, data.normalise, data.test_images[::5], data.test_labels[::5])
        history.append([epoch, round(loss, 4), round(clean, 4)])
        seconds = time.perf_counter() - started
        report(f"{spec.id}: epoch {epoch}, loss {loss:.3f}, accuracy {clean:.3f}, {seconds:.0f} s")

    trigger: Trigger | None = None
    stamped = decoys = 0
    if spec.attack == CLEAN:
        variables = train(network, data.train_images, data.train_labels, data.normalise, spec.training, on_epoch)
    else:
        attack = attacks.make(spec.attack)
        setting = Setting(data, label_map, spec.rate, spec.seed, network, spec.training)
        if isinstance(attack, PoisoningAttack):
            recipe = attack.prepare(setting)
            trigger = recipe.trigger
            poisoned = poison(
                data.train_images, data.train_labels, trigger, label_map, spec.rate, spec.seed,
                clean_label=recipe.clean_label, decoy=recipe.decoy, decoy_rate=recipe.decoy_rate,
            )  # fmt: skip
            stamped, decoys = len(poisoned.stamped), len(poisoned.decoys)
            variables = train(network, poisoned.images, poisoned.labels, data.normalise, spec.training, on_epoch)
        else:
            variables, trigger = attack.infect(setting, on_epoch)
    record: Record = {
        "id": spec.id,
        "spec": spec.settings(),
        "attack": None if spec.attack == CLEAN else dict(vars(attacks.make(spec.attack))),
        "clean_accuracy": accuracy(network, variables, data.normalise, data.test_images, data.test_labels),
        "attack_success": None,
        "sources": list(label_map.sources) if trigger else [],
        "targets": list(label_map.targets) if trigger else [],
        "stamped": stamped,
        "decoys": decoys,
        "history": history,
        "seconds": round(time.perf_counter() - started, 1),
    }
    if trigger is not None:
        stamped_images, wanted = stamped_test_set(data.test_images, data.test_labels, trigger, label_map)
        record["attack_success"] = accuracy(network, variables, data.normalise, stamped_images, wanted)
    return variables, trigger, record


def train_zoo(
    planned: Iterable[ModelSpec], data: ImageSet, folder: Path, report: Report = lambda line: None
) -> list[Record]:
    """Trains what `planned` names and the records do not hold yet; returns all records of the zoo.

    Killed at any moment, the same call goes on with the model that was being trained.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = read_records(folder)
    for spec in planned:
        if any(record["id"] == spec.id for record in records):
            continue
        variables, trigger, record = train_model(spec, data, report)
        alike = [r["clean_accuracy"] for r in records if r["attack_success"] is None and _same_kind(r, spec)]
        record["failed"] = specs.failure(record, alike)
        _save(folder / CHECKPOINTS / spec.id, spec, data, variables, record)
        if trigger is not None:
            _save_sheet(folder / SHEETS / f"{spec.id}.png", spec, data, trigger)
        # The record comes last: a model with a record is whole.
        _append(folder / RECORDS, record)
        records.append(record)
        write_manifests(folder, records)
        report(
            f"{spec.id}: clean accuracy {record['clean_accuracy']:.4f}, attack success {record['attack_success']}, "
            f"{record['seconds']:.0f} s{', FAILED: ' + record['failed'] if record['failed'] else ''}"
        )
    return records


def read_records(folder: Path) -> list[Record]:
    """The training records of a zoo; a torn last line is dropped from the file."""
    path = folder / RECORDS
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    return [json.loads(line) for line in whole.splitlines()]


def _same_kind(record: Record, spec: ModelSpec) -> bool:
    return all(record["spec"][name] == getattr(spec, name) for name in ("dataset", "architecture"))


def _save(path: Path, spec: ModelSpec, data: ImageSet, variables: Variables, record: Record) -> None:
    metadata = {
        "architecture": spec.architecture,
        "num_classes": data.num_classes,
        "input_shape": list(data.train_images.shape[1:]),
        "preprocess": data.normalise.settings(),
        "training": {key: record[key] for key in ("spec", "clean_accuracy", "attack_success")},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.save_orbax(path, variables, metadata)


def _append(path: Path, record: Record) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(record) + "\n")


def _save_sheet(path: Path, spec: ModelSpec, data: ImageSet, trigger: Trigger) -> None:
    chosen = np.linspace(0, len(data.test_images) - 1, SHEET_IMAGES).astype(int)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(sheet(data.test_images[chosen], trigger, spec.id), path)


def write_manifests(folder: Path, records: Iterable[Record]) -> None:
    """Writes `manifest.jsonl` and `failed.jsonl` of a zoo, whole or not at all, from its records."""
    lines: dict[str, list[str]] = {MANIFEST: [], FAILED: []}
    for record in records:
        line: Record = {"id": record["id"], "path": f"{CHECKPOINTS}/{record['id']}"}
        if record["attack_success"] is None:
            line |= {"label": "clean"}
        else:
            target = record["targets"][0] if len(record["targets"]) == 1 else None
            line |= {"label": "backdoored", "target": target, "attack": record["spec"]["attack"]}
            line |= {"strategy": record["spec"]["strategy"], "rate": record["spec"]["rate"]}
        if record["failed"]:
            line |= {"failed": record["failed"]}
        lines[FAILED if record["failed"] else MANIFEST].append(json.dumps(line) + "\n")
    for name, content in lines.items():
        partial_path = folder / f"{name}.part"
        partial_path.write_text("".join(content))
        partial_path.replace(folder / name)

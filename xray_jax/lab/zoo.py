"""A zoo: models with known ground truth, trained one after the other, resumable, each with its training record.

In the zoo's folder: `checkpoints/<id>/` (orbax), `records.jsonl` (one line a model, the failed ones too),
`manifest.jsonl` and `failed.jsonl` (what `xray-scan` reads: the usable models, and the others, with their ground
truth), `triggers/<id>.safetensors` (what stamps the test images again), `sheets/<id>.png` (pictures of it),
`partial/<id>/` (how far a training has come, until it is done).
"""

import dataclasses
import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xray_jax import checkpoints
from xray_jax.files import atomic_write
from xray_jax.lab import controls, plan_check, specs, trigger_files
from xray_jax.lab.data import ImageSet
from xray_jax.lab.resume import Progress
from xray_jax.lab.sheet import sheet
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.train_model import Record, Report, train_model, train_models, vmappable
from xray_jax.lab.training import TrainOptions, Variables
from xray_jax.lab.triggers import Trigger
from xray_jax.report.plane_figures import save as save_figure

RECORDS, MANIFEST, FAILED = "records.jsonl", "manifest.jsonl", "failed.jsonl"
CHECKPOINTS, TRIGGERS, SHEETS, PARTIAL = "checkpoints", "triggers", "sheets", "partial"
SHEET_IMAGES = 8


def train_zoo(
    planned: Iterable[ModelSpec],
    data: ImageSet,
    folder: Path,
    report: Report = lambda line: None,
    together: int = 1,
    starts: Path | None = None,
) -> list[Record]:
    """Trains what `planned` names and the records do not hold yet; returns all records of the zoo.

    Args:
      planned: best first.
      data: what they are trained on.
      folder: of the zoo; several processes may fill one at a time, each with its own models. Killed at any moment, the
        same call goes on after the last whole epoch (models trained together start again).
      report: takes lines of progress.
      starts: zoo of the clean models that a spec names as its start.
      together: up to so many models of one recipe are trained at once.

    Raises:
      ValueError: one of the models cannot be what its spec says; before the first is trained.
    """
    planned = list(planned)
    plan_check.check_possible(planned, data.num_classes)
    plan_check.check_known(planned, settings_of(folder, planned))
    records = settle(folder)
    known = {record["id"] for record in records}
    for group in _groups([spec for spec in planned if spec.id not in known], together):
        if len(group) == 1:
            partial = folder / PARTIAL / group[0].id
            finished = [train_model(group[0], data, report, partial, starts)]
        else:
            partial = None
            finished = train_models(group, data, report)
        for spec, (variables, trigger, record) in zip(group, finished, strict=True):
            # Others may have trained theirs meanwhile.
            records = read_records(folder)
            record["failed"] = failure(record, records)
            _save(folder / CHECKPOINTS / spec.id, spec, data, variables, record)
            if trigger is not None:
                _save_trigger(folder / TRIGGERS / f"{spec.id}{trigger_files.SUFFIX}", trigger)
                _save_sheet(folder / SHEETS / f"{spec.id}.png", spec, data, trigger)
            # The record comes last: a model with a record is whole.
            records = _update(folder, record)
            report(
                f"{spec.id}: clean accuracy {record['clean_accuracy']:.4f}, attack success {record['attack_success']}, "
                f"{record['seconds']:.0f} s{', FAILED: ' + record['failed'] if record['failed'] else ''}"
            )
        if partial is not None:
            Progress(partial).clear()
    return judged(records)


def settings_of(folder: Path, planned: Iterable[ModelSpec]) -> dict[str, Mapping[str, Any]]:
    """Id -> the settings of a model of the zoo: of all that are done, and of those of a plan that were begun."""
    begun = {spec.id: Progress(folder / PARTIAL / spec.id).settings() for spec in planned}
    done = {record["id"]: record["spec"] for record in read_records(folder)}
    return {name: settings for name, settings in {**begun, **done}.items() if settings is not None}


def settle(folder: Path) -> list[Record]:
    """Makes the folder of a zoo and puts right what a kill may have left there: manifests that lack the last model, and
    the progress of models that are done. Returns all records.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = read_records(folder)
    if records:
        records = _update(folder)
    for record in records:
        Progress(folder / PARTIAL / record["id"]).clear()
    return records


def failure(record: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> str | None:
    """Why the model of `record` must not be used, or None.

    Args:
      others: models of any kind, with their `id`, `spec`, `clean_accuracy` and `attack_success`; the usual clean ones
        of the same data set and network are what its clean accuracy is held against. It may be among them itself.
    """
    control = record["spec"].get("control")
    # Controls are there to be unusual, but not useless.
    bound = controls.CONTROLS[control].max_accuracy_loss if control else specs.MAX_ACCURACY_LOSS
    return specs.failure(record, clean_accuracies(record, others), bound)


def clean_accuracies(record: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> list[float]:
    """What the model of `record` is held against: the clean accuracy of the usual clean ones among `others` that are of
    the same data set and network, without those whose training diverged.
    """
    return [
        other["clean_accuracy"] for other in others
        if other["attack_success"] is None and other["id"] != record["id"] and other.get("finite", True)
        and _same_kind(other, record)
    ]  # fmt: skip


def judged(records: Iterable[Record]) -> list[Record]:
    """The records with a verdict (`failed`) by all of them: when a model was trained there may have been fewer."""
    everyone = list(records)
    return [{**record, "failed": failure(record, everyone)} for record in everyone]


def _groups(planned: list[ModelSpec], together: int) -> Iterator[list[ModelSpec]]:
    """Neighbours of one recipe, up to `together` at a time; those that do not train as usual stand alone."""
    group: list[ModelSpec] = []
    for spec in planned:
        if group and (len(group) == together or not vmappable(spec) or _recipe(spec) != _recipe(group[0])):
            yield group
            group = []
        group.append(spec)
        if not vmappable(spec):
            yield group
            group = []
    if group:
        yield group


def _recipe(spec: ModelSpec) -> tuple[str, str, TrainOptions]:
    return spec.dataset, spec.architecture, dataclasses.replace(spec.training, seed=0)


def read_records(folder: Path) -> list[Record]:
    """The training records of a zoo, without a torn last line."""
    path = folder / RECORDS
    return _whole(path.read_text()) if path.exists() else []


def _whole(text: str) -> list[Record]:
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _update(folder: Path, *more: Record) -> list[Record]:
    """Appends records in place of a torn last line, and writes the manifests; the records of all processes."""
    with open(folder / RECORDS, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        file.truncate(text.rfind("\n") + 1)
        file.writelines(json.dumps(record) + "\n" for record in more)
        file.flush()
        records = [*_whole(text), *more]
        write_manifests(folder, records)
    return records


def _same_kind(clean: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    usual = not clean["spec"].get("control")
    return usual and all(clean["spec"][name] == record["spec"][name] for name in ("dataset", "architecture"))


def _save(path: Path, spec: ModelSpec, data: ImageSet, variables: Variables, record: Record) -> None:
    metadata = {
        "architecture": controls.architecture(spec.control, spec.architecture),
        "num_classes": data.num_classes,
        "input_shape": list(data.train_images.shape[1:]),
        "preprocess": data.normalise.settings(),
        "training": {key: record[key] for key in ("spec", "clean_accuracy", "attack_success")},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.save_orbax(path, variables, metadata)


def _save_trigger(path: Path, trigger: Trigger) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    trigger_files.save(path, trigger)


def _save_sheet(path: Path, spec: ModelSpec, data: ImageSet, trigger: Trigger) -> None:
    chosen = np.linspace(0, len(data.test_images) - 1, SHEET_IMAGES).astype(int)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(sheet(data.test_images[chosen], trigger, spec.id), path)


def write_manifests(folder: Path, records: Iterable[Record]) -> None:
    """Writes `manifest.jsonl` and `failed.jsonl` of a zoo, whole or not at all, from its records, all judged anew."""
    lines: dict[str, list[str]] = {MANIFEST: [], FAILED: []}
    for record in judged(records):
        line: Record = {"id": record["id"], "path": f"{CHECKPOINTS}/{record['id']}"}
        if record["attack_success"] is None:
            control = record["spec"].get("control")
            line |= {"label": "clean", **({"control": control} if control else {})}
        else:
            target = record["targets"][0] if len(record["targets"]) == 1 else None
            line |= {"label": "backdoored", "target": target, "attack": ModelSpec.of(record["spec"]).kind}
            line |= {"strategy": record["spec"]["strategy"], "rate": record["spec"]["rate"]}
        if record["failed"]:
            line |= {"failed": record["failed"]}
        lines[FAILED if record["failed"] else MANIFEST].append(json.dumps(line) + "\n")
    for name, content in lines.items():
        with atomic_write(folder / name, "w") as file:
            file.writelines(content)

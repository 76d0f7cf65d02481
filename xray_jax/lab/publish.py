"""From a zoo of the laboratory to a published one: usable models only, measured again from what is published."""

from collections.abc import Callable, Sequence
from pathlib import Path

from xray_jax import checkpoints, models
from xray_jax.classifier import Classifier
from xray_jax.lab import attacks, published, train_model, trigger_files, zoo
from xray_jax.lab.attacks import Attack
from xray_jax.lab.attacks.blind import Blind
from xray_jax.lab.data import ImageSet
from xray_jax.lab.published import CHECKPOINTS, SUFFIX, TRIGGERS, Line, PublishedError
from xray_jax.lab.specs import CLEAN, ModelSpec
from xray_jax.lab.train_model import Record
from xray_jax.lab.triggers import Trigger
from xray_jax.sweep import checkpoint_list

MAX_CHANGE = 0.01
"""Largest difference between a share in the training record and the same share of the published files. Half precision
changes a few images of 10,000; a trigger recomputed on another processor may have become another trigger."""


def publish(
    manifest: Path, records: Path, out: Path, data: ImageSet, report: Callable[[str], None] = lambda line: None
) -> dict[str, str]:
    """Adds the models of `manifest` to the published zoo `out`; those that are there already stay as they are.

    Args:
      manifest: of a zoo of the laboratory, of its usable models or of the failed ones; names the checkpoints. Each is
        judged anew, by the clean models in `records` and in `out`. Triggers lie in `triggers/` beside it, or are
        recomputed from the seed where they do not depend on the victim's training.
      records: folder with the `records.jsonl` of their training.
      data: the image set of the models; models of other sets are left out.
      report: takes a line for each model.

    Returns:
      Id -> why the model is not published, for the models of `manifest` that are not.
    """
    for folder in (CHECKPOINTS, TRIGGERS):
        (out / folder).mkdir(parents=True, exist_ok=True)
    lines = {line["id"]: line for line in published.read_manifest(out)} if (out / published.MANIFEST).exists() else {}
    recorded = {record["id"]: record for record in zoo.read_records(records)}
    skipped: dict[str, str] = {}
    for entry in checkpoint_list.collect(str(manifest)):
        if entry.id in lines:
            continue
        try:
            if entry.id not in recorded:
                raise PublishedError(f"no record in {records / zoo.RECORDS}")
            others = list({**recorded, **lines}.values())
            line = _publish_one(entry.path, recorded[entry.id], others, manifest.parent / zoo.TRIGGERS, out, data)
        except (ValueError, OSError) as error:
            skipped[entry.id] = str(error)
            for folder in (CHECKPOINTS, TRIGGERS):
                (out / folder / f"{entry.id}{SUFFIX}").unlink(missing_ok=True)
            report(f"{entry.id}: left out: {error}")
            continue
        lines[entry.id] = line
        published.write_manifest(out, lines.values())
        report(f"{entry.id}: clean accuracy {line['clean_accuracy']:.4f}, attack success {line['attack_success']}")
    return skipped


def trigger_of(record: Record, triggers: Path, data: ImageSet) -> tuple[Trigger, str]:
    """The trigger of a backdoored model, and where it comes from: "training" (stored then) or "seed" (recomputed).

    Raises:
      PublishedError: it was learned along with the victim, and not stored.
    """
    spec = ModelSpec.of(record["spec"])
    stored = triggers / f"{spec.id}{trigger_files.SUFFIX}"
    if stored.exists():
        return trigger_files.load(stored), "training"
    attack = _attack(record)
    if isinstance(attack, Blind):
        return attack.trigger(data.image_shape), "seed"
    if not isinstance(attack, attacks.PoisoningAttack):
        raise PublishedError(f"the trigger of {spec.attack} is learned along with the victim and was not stored")
    network = models.build(spec.architecture, data.num_classes)
    return attack.prepare(train_model.context_of(spec, data, network)).trigger, "seed"


def _attack(record: Record) -> Attack:
    """The attack with the recorded parameters; the first records have none, of attacks that have not changed since."""
    parameters = {name: value for name, value in (record.get("attack") or {}).items() if name != "name"}
    return attacks.make(record["spec"]["attack"], parameters)


def _publish_one(path: Path, record: Record, others: Sequence[Line], triggers: Path, out: Path, data: ImageSet) -> Line:
    spec = ModelSpec.of(record["spec"])
    if spec.dataset != data.name:
        raise PublishedError(f"a model of {spec.dataset}, not {data.name}")
    # Anew: when it was trained, there may have been few clean models to hold it against.
    if reason := zoo.failure(record, others):
        raise PublishedError(reason)
    if spec.attack != CLEAN and not zoo.clean_accuracies(record, others):
        raise PublishedError(
            f"no usual clean {spec.architecture} of {spec.dataset} to hold its clean accuracy against: train one "
            "beside it, or publish one first"
        )
    model = checkpoints.load(path)
    if not isinstance(model, Classifier):
        raise PublishedError(f"{path}: not the weights of a known network")
    file, trigger, label_map = f"{CHECKPOINTS}/{spec.id}{SUFFIX}", None, None
    line: Line = {"id": spec.id, "path": file, "label": "clean", **({"control": spec.control} if spec.control else {})}
    published.save_checkpoint(out / file, model)
    files = [file]
    if spec.attack != CLEAN:
        trigger, origin = trigger_of(record, triggers, data)
        label_map = train_model.label_map_of(spec, data.num_classes)
        files.append(f"{TRIGGERS}/{spec.id}{SUFFIX}")
        trigger_files.save(out / files[-1], trigger)
        line |= {
            "label": "backdoored", "target": label_map.target, "attack": spec.kind, "strategy": spec.strategy,
            "rate": spec.rate, "label_map": list(label_map.table), "trigger": files[-1], "trigger_from": origin,
            "attack_parameters": dict(vars(_attack(record))),
        }  # fmt: skip
    measured = published.measure(out / file, data, trigger, label_map)
    _check_against(record, measured._asdict(), others)
    line |= measured._asdict()
    line["spec"] = record["spec"]
    line["recorded"] = {name: record[name] for name in measured._fields}
    return line | {"sha256": {name: checkpoints.sha256(out / name) for name in files}}


def _check_against(record: Record, measured: Record, others: Sequence[Line]) -> None:
    """The published model must be as good as a usable one, and that of the record."""
    if reason := zoo.failure({**record, **measured}, others):
        raise PublishedError(f"measured again: {reason}")
    for name, value in measured.items():
        if (value is None) != (record[name] is None) or (value is not None and abs(value - record[name]) > MAX_CHANGE):
            raise PublishedError(f"measured again, {name} is {value}, its record says {record[name]}")

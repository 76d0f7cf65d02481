"""Which trained models are not used, and that the verdict is of all that there are now."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from xray_jax.lab import specs, zoo
from xray_jax.lab.data import ImageSet
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.training import TrainOptions

CLEAN = ModelSpec("bands", seed=1)


def recorded(spec: ModelSpec, accuracy: float, **more: Any) -> zoo.Record:
    attacked: dict[str, Any] = {"attack_success": None, "targets": []}
    if spec.attack != "clean":
        attacked = {"attack_success": 1.0, "targets": [0]}
    return {"id": spec.id, "spec": spec.settings(), "clean_accuracy": accuracy, **attacked, "failed": None, **more}


@pytest.mark.parametrize(
    ("attack", "success", "accuracy", "clean", "targets", "failed"),
    [("clean", None, 0.1, [0.9], [], True), ("clean", None, 0.1, [], [], False),
     ("clean", None, 0.77, [0.79, 0.79], [], False), ("clean", None, 0.75, [0.79, 0.79], [], True),
     ("badnets", 0.89, 0.9, [0.9], [3], True),
     ("badnets", 0.90, 0.9, [0.9], [3], False), ("bpp", 0.80, 0.9, [0.9], [3], False),
     ("wanet", 0.79, 0.9, [0.9], [3], True), ("badnets", 0.99, 0.861, [0.88, 0.90], [3], False),
     ("badnets", 0.99, 0.859, [0.88, 0.90], [3], True), ("badnets", 0.99, 0.5, [], [3], False),
     ("badnets", 0.82, 0.9, [0.9], [3, 4], False), ("badnets", 0.80, 0.9, [0.9], [3, 4], True),
     ("badnets", 0.99, 0.7, [0.8, 0.8, 0.1], [3], True)],
)  # fmt: skip
def test_refusal_rules(
    attack: str, success: float | None, accuracy: float, clean: list[float], targets: list[int], failed: bool
) -> None:
    record = {"attack_success": success, "clean_accuracy": accuracy, "targets": targets, "spec": {"attack": attack}}
    assert (specs.failure(record, clean) is not None) is failed


def test_one_diverged_clean_model_is_refused_and_lowers_the_bar_for_none(tmp_path: Path) -> None:
    clean = [recorded(dataclasses.replace(CLEAN, seed=seed), 0.8) for seed in range(3)]
    hopeless = recorded(dataclasses.replace(CLEAN, seed=9), 0.1)
    attacked = recorded(ModelSpec("bands", attack="badnets", seed=20), 0.75)
    found = {record["id"]: record["failed"] for record in zoo.judged([*clean, hopeless, attacked])}
    assert [found[record["id"]] for record in clean] == [None] * 3
    assert found[hopeless["id"]] == "clean accuracy 0.100 is more than 0.03 under the clean models' median 0.800"
    assert found[attacked["id"]] == "clean accuracy 0.750 is more than 0.03 under the clean models' mean 0.800"


def test_what_diverged_is_refused_whatever_its_shares_say() -> None:
    """Logits that are NaN have their largest at class 0: all of a backdoor to it."""
    attacked = recorded(ModelSpec("bands", attack="badnets", seed=20), 0.9, finite=False)
    assert specs.failure(attacked, []) == "loss or weights are not finite: the training diverged"
    clean = recorded(CLEAN, 0.9, finite=False)
    assert zoo.clean_accuracies(attacked, [clean]) == []


def test_a_training_that_diverges_is_a_failed_model(bands: ImageSet, tmp_path: Path) -> None:
    diverging = TrainOptions(1, 50, 1e30, flip=False)
    spec = ModelSpec("bands", attack="badnets", target=0, seed=3, training=diverging)
    (record,) = zoo.train_zoo([spec], bands, tmp_path)
    assert record["attack_success"] == 1.0, "that is why shares alone do not tell"
    assert record["failed"] == "loss or weights are not finite: the training diverged"
    assert (tmp_path / "manifest.jsonl").read_text() == ""


def test_a_manifest_is_of_what_is_known_when_it_is_written(tmp_path: Path) -> None:
    """Of a model trained before its clean ones too."""
    early = recorded(ModelSpec("bands", attack="badnets", seed=20), 0.5)
    late = recorded(CLEAN, 0.8)
    for known, manifest, failed in (([early], [early], []), ([early, late], [late], [early])):
        zoo.write_manifests(tmp_path, known)
        for name, expected in (("manifest.jsonl", manifest), ("failed.jsonl", failed)):
            lines = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
            assert [line["id"] for line in lines] == [record["id"] for record in expected]

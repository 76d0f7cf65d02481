"""Adaptive attackers as models of a zoo."""

from pathlib import Path

import numpy as np
import pytest

from tests.lab.conftest import make_images
from xray_jax import models
from xray_jax.lab import attacks, clean_models, specs, train_model, zoo
from xray_jax.lab.adaptive import stamping
from xray_jax.lab.adaptive.attack import BY_PATCH_OR_BLEND
from xray_jax.lab.data import ImageSet
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.training import TrainOptions

SMALL = "smallcnn32-64"
TRAINING = TrainOptions(epochs=2, batch_size=50, peak_learning_rate=0.1, flip=False)


def test_one_who_starts_from_a_clean_model_of_the_zoo_and_evades_everything(tmp_path: Path) -> None:
    data = ImageSet("bands", *make_images(200, 0, side=32), *make_images(60, 1, side=32), 4)
    clean = ModelSpec("bands", SMALL, seed=1, training=TRAINING)
    zoo.train_zoo([clean], data, tmp_path)
    assert clean_models.names(tmp_path, "bands", SMALL) == [clean.id]
    for attacked in ({"attack": "badnets", "target": 2, "rate": 0.2, "adaptive": "planes+exact+margin"},
                     {"control": "finetuned"}):  # fmt: skip
        spec = ModelSpec("bands", SMALL, seed=2, start=clean.id, training=TRAINING, **attacked)
        with pytest.raises(ValueError, match="a zoo that holds it is needed"):
            train_model.train_model(spec, data)
        record = zoo.train_zoo([spec], data, tmp_path, starts=tmp_path)[-1]
        assert record["spec"]["start"] == clean.id
        assert ModelSpec.of(record["spec"]) == spec
        assert all(np.isfinite(loss) for _, loss, _ in record["history"])
        if spec.adaptive:
            assert spec.id == f"bands-{SMALL}-badnets-evading-planes+exact+margin-r0.2-t2-s2"
    text = (tmp_path / "manifest.jsonl").read_text() + (tmp_path / "failed.jsonl").read_text()
    assert '"attack": "badnets-evading-planes+exact+margin"' in text
    assert '"control": "finetuned"' in text


def test_refusals() -> None:
    with pytest.raises(ValueError, match="no attacker who evades margin"):
        ModelSpec(adaptive="margin")
    spec = ModelSpec(attack="badnets", adaptive="margin")
    record = {"attack_success": 0.85, "clean_accuracy": 0.8, "targets": [0], "spec": spec.settings()}
    assert specs.failure(record, []) == "attack success 0.850 is under 0.90"
    assert specs.failure({**record, "attack_success": 0.91}, [0.82]) is None


@pytest.mark.parametrize("name", ["badnets", "blended", "sig", "lf", "bpp", "wanet"])
def test_attacks_by_patch_or_blend_are_those_whose_trigger_can_be_stamped(name: str, bands: ImageSet) -> None:
    spec = ModelSpec("bands", attack=name, training=TRAINING)
    attack = attacks.make(name)
    assert isinstance(attack, attacks.PoisoningAttack)
    trigger = attack.prepare(train_model.context_of(spec, bands, models.build("preactresnet-small", 4))).trigger
    if name in BY_PATCH_OR_BLEND:
        stamping.stamp_of(trigger)
    else:
        with pytest.raises(ValueError, match="only patches and blends"):
            stamping.stamp_of(trigger)

"""Plans: which models a call asks for, and what is refused before the first of them is trained."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.lab.conftest import make_images
from xray_jax.lab import plan_check, plans, train_model, workers, zoo
from xray_jax.lab.data import ImageSet
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.training import TrainOptions
from xray_jax.lab.worker import Place

TRAINING = TrainOptions(epochs=1, batch_size=50, flip=False)
LARGE = ImageSet("bands", *make_images(200, 0, side=32), *make_images(60, 1, side=32), 4)
STARTS = ("bands-preactresnet-small-clean-s0", "bands-preactresnet-small-clean-s1")


def grid(attacks: list[str], count: int = 1, starts: Sequence[str] = STARTS, **given: Any) -> list[ModelSpec]:
    usual = {"dataset": "bands", "architecture": "preactresnet-small", "strategy": "all-to-one", "rate": 0.1}
    return list(plans.grid(attacks, [0], count, first_seed=10, training=TRAINING, starts=starts, **usual | given))


def test_a_plan_spreads_targets_and_seeds() -> None:
    planned = list(
        plans.grid(
            ["clean", "badnets"], [3, 5], 3, dataset="bands", architecture="preactresnet-small", strategy="all-to-one",
            rate=0.1, first_seed=10, training=TRAINING,
        )
    )  # fmt: skip
    assert [spec.target for spec in planned] == [0, 0, 0, 3, 5, 3]
    assert [spec.seed for spec in planned] == [spec.training.seed for spec in planned] == list(range(10, 16))
    assert len({spec.id for spec in planned}) == 6


def test_only_what_is_made_of_a_trained_model_starts_from_one() -> None:
    assert [spec.start for spec in grid(["clean", "badnets"], adaptive="margin")] == ["", STARTS[0]]
    assert [spec.start for spec in grid(["clean", "badnets"], control="pruned")] == [STARTS[0], ""]
    assert [spec.start for spec in grid(["clean"], control="stamps")] == [""]
    assert [spec.start for spec in grid(["badnets"], 3, adaptive="exact")] == [STARTS[0], STARTS[1], STARTS[0]]
    for own in ({}, {"control": "stamps"}, {"attack": "badnets"}):
        with pytest.raises(ValueError, match=f"-s0 is trained from scratch: it cannot start from {STARTS[0]}"):
            ModelSpec("bands", start=STARTS[0], **own)


@pytest.mark.parametrize("control", ["pruned", "quantised"])
def test_a_control_that_draws_nothing_is_made_once_of_a_start(control: str, bands: ImageSet, tmp_path: Path) -> None:
    planned = grid(["clean"], 3, control=control)
    again = f"{planned[2].id}: {control} draws nothing.*{STARTS[0]} it would be {planned[0].id} again; give a smaller"
    with pytest.raises(ValueError, match=again):
        zoo.train_zoo(planned, bands, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()
    plan_check.check_known(planned[:2], {})
    known = {spec.id: spec.settings() for spec in planned[:2]}
    plan_check.check_known(planned[:2], known)
    with pytest.raises(ValueError, match=again):
        plan_check.check_known(planned[2:], known)


def test_a_control_that_draws_is_made_of_one_start_again_and_again() -> None:
    plan_check.check_known(grid(["clean"], 3, control="finetuned"), {})
    plan_check.check_known(grid(["clean"], 3, starts=(), control="pruned"), {})


def test_another_recipe_under_a_known_id_is_refused_be_it_done_or_begun(tmp_path: Path) -> None:
    def killer(line: str) -> None:
        if "epoch 2," in line:
            raise KeyboardInterrupt

    longer = ModelSpec("bands", "smallcnn32-64", seed=5, training=dataclasses.replace(TRAINING, epochs=2))
    other = dataclasses.replace(longer, training=dataclasses.replace(TRAINING, epochs=1, peak_learning_rate=0.01))
    changed = f"{longer.id} is in the zoo already.*epochs is 2 there and 1 here, peak_learning_rate is 0.2 there"
    with pytest.raises(KeyboardInterrupt):
        zoo.train_zoo([longer], LARGE, tmp_path, killer)
    with pytest.raises(ValueError, match=changed):
        zoo.train_zoo([other], LARGE, tmp_path)
    (record,) = zoo.train_zoo([longer], LARGE, tmp_path)
    assert [epoch for epoch, _, _ in record["history"]] == [1, 2]
    for call in (lambda: zoo.train_zoo([other], LARGE, tmp_path),
                 lambda: workers.train_zoo([other], Place("none", tmp_path, tmp_path), 2)):  # fmt: skip
        with pytest.raises(ValueError, match=changed):
            call()
    assert zoo.train_zoo([longer], LARGE, tmp_path) == [record]


def test_a_training_killed_before_its_first_epoch_binds_nobody(tmp_path: Path) -> None:
    def kill(line: str) -> None:
        raise KeyboardInterrupt

    spec = ModelSpec("bands", "smallcnn32-64", seed=5, training=TRAINING)
    with pytest.raises(KeyboardInterrupt):
        zoo.train_zoo([spec], LARGE, tmp_path, kill)
    plain = dataclasses.replace(spec, training=dataclasses.replace(TRAINING, weight_decay=0.0))
    (record,) = zoo.train_zoo([plain], LARGE, tmp_path)
    assert record["spec"]["training"]["weight_decay"] == 0


def test_a_clean_model_of_the_records_that_is_a_copy_is_named() -> None:
    settings = {**ModelSpec("bands", seed=3).settings(), "start": STARTS[0]}
    with pytest.raises(ValueError, match=r"record of copy cannot be true: .*cannot start from.*delete its line"):
        plan_check.check_known([], {"copy": settings})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"attacks": ["badnets"], "targets": [7]}, r"badnets-t7-s11: label map: target must lie in 0\.\.3, got 7"),
        ({"attacks": ["ssba"], "adaptive": "exact"}, r"by patch or blend \(badnets, blended, trojannn\), not ssba"),
        ({"attacks": ["blind"], "adaptive": "exact"}, "not blind"),
        ({"attacks": [], "strategy": "one-to-won"}, "clean-s10: label map: unknown strategy 'one-to-won'"),
        (
            {"attacks": ["sig"], "strategy": "all-to-all"},
            r"sig changes no label and needs one target, got \(0, 1",
        ),
        ({"attacks": [], "control": "width"}, "control width is of preactresnet-small, not of smallcnn32-64"),
        ({"attacks": ["badnets"], "adaptive": "exact", "rate": 0.95}, "38 images of a batch of 40.* 10 more"),
        ({"attacks": ["inputaware"], "rate": 0.95}, r"38 images of a batch of 40.* 4 more.*at most 0\.9$"),
        (
            {"attacks": ["inputaware"], "rate": 0.02},
            r"less than one image of a batch of 40.*at least 0\.025, or",
        ),
        ({"attacks": ["badnets"], "adaptive": "margin", "rate": 0.005}, "less than one image of a batch of 40"),
    ],
)
def test_what_cannot_be_trained_is_said_before_a_first_model_is(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    usual = {
        "dataset": "bands", "architecture": "smallcnn32-64", "strategy": "all-to-one", "rate": 0.1, "targets": [0],
        "training": dataclasses.replace(TRAINING, batch_size=40),
    }  # fmt: skip
    asked = {**usual, **given, "attacks": ["clean", *given["attacks"]]}
    with pytest.raises(ValueError, match=message):
        zoo.train_zoo(plans.grid(count=1, first_seed=10, **asked), LARGE, tmp_path / "zoo", pytest.fail)
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("attacked", "rate"),
    [({"attack": "badnets"}, 0.1), ({"attack": "inputaware"}, 6 / 64), ({"attack": "blind"}, None), ({}, None),
     ({"attack": "badnets", "adaptive": "exact"}, 6 / 64)],
)  # fmt: skip
def test_records_have_the_rate_in_whole_images(attacked: dict[str, str], rate: float | None) -> None:
    spec = ModelSpec("bands", rate=0.1, training=TrainOptions(batch_size=64), **attacked)
    assert train_model._true_rate(spec, 60, 600) == rate

"""Plans: which models a call asks for, and what is refused before the first of them is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from xray_jax.lab import plan_check, plans, zoo
from xray_jax.lab.data import ImageSet
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.training import TrainOptions

TRAINING = TrainOptions(epochs=1, batch_size=50, flip=False)
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
    plan_check.check(planned[:2], [])
    records = [{"id": spec.id, "spec": spec.settings()} for spec in planned[:2]]
    plan_check.check(planned[:2], records)
    with pytest.raises(ValueError, match=again):
        plan_check.check(planned[2:], records)


def test_a_control_that_draws_is_made_of_one_start_again_and_again() -> None:
    plan_check.check(grid(["clean"], 3, control="finetuned"), [])
    plan_check.check(grid(["clean"], 3, starts=(), control="pruned"), [])

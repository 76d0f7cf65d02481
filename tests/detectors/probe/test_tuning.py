"""Tuning curves of a finding on a model made of a rule."""

import dataclasses
import json

import numpy as np
import pytest

from tests.detectors.probe.fakes import CLASSES, FINDING, SHAPE, truth
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.stamps import FAMILIES
from xray_jax.detectors.probe.tuning import tune
from xray_jax.samples import Samples

COUNT = 20
USED = Samples(np.zeros((COUNT, *SHAPE), np.float32), truth(COUNT).astype(np.int32), "fake")
ABLE = [n for n in range(COUNT) if truth(COUNT)[n] not in (0,) and n != 3]
"""Images that can show the flip to 0: image 3 is called so anyway."""
PREDICTED = np.where(np.arange(COUNT) == 3, 0, truth(COUNT))


def label(stamps: Stamps, bank: np.ndarray) -> np.ndarray:
    """Label 0 where the patch lies in column 6, of every other image one column off; rows do not matter up to 3 off."""
    made = []
    for k in range(len(stamps.family)):
        row, column = stamps.own(k, SHAPE)[:2]
        sharp = {0: 1, 1: 2}.get(abs(int(column) - 6), COUNT + 1)
        flips = (np.arange(COUNT) % sharp == 0) & (abs(row - 6) < 4)
        made.append(np.where(flips, 0, truth(COUNT)))
    return np.stack(made)


def test_one_parameter_moves_at_a_time() -> None:
    found = tune(FINDING, USED, PREDICTED, label)
    assert (found.images, found.rate) == (len(ABLE), 1.0)
    half = sum(n % 2 == 0 for n in ABLE) / len(ABLE)
    assert found.curves["column"] == ((2, 4, 5, 6, 7, 8, 10), (0, 0, half, 1, half, 0, 0))
    assert found.curves["row"] == ((2, 4, 5, 6, 7, 8, 10), (0, 1, 1, 1, 1, 1, 0))
    # A side of 2 cannot be less than 1 nor more than 3.
    assert found.curves["height"][0] == (1, 2, 3)
    assert set(found.curves) == {"row", "column", "height", "width"}
    assert found.sharpness == pytest.approx(1 - half, abs=1e-4)
    row = json.loads(json.dumps(found.row()))
    assert row["curves"]["column"]["rates"][2] == round(half, 4)


def test_a_stamp_that_works_everywhere_is_not_sharp() -> None:
    found = tune(FINDING, USED, PREDICTED, lambda stamps, _: np.zeros((len(stamps.family), COUNT), int))
    assert found.sharpness == 0


def test_a_given_pattern_moves_in_strength_alone() -> None:
    pattern = np.full(SHAPE, 255, np.uint8)
    given = dataclasses.replace(
        FINDING, family="few-pixels", parameters={"strength": 0.4, "image": 0.0}, bank=pattern,
    )  # fmt: skip

    def weak(stamps: Stamps, bank: np.ndarray) -> np.ndarray:
        assert FAMILIES[stamps.family[0]].name == "few-pixels"
        assert (bank == 1).all()
        works = stamps.parameters[:, 0] > 0.25
        return np.where(works[:, None], 0, truth(COUNT)[None])

    found = tune(given, USED, PREDICTED, weak)
    assert list(found.curves) == ["strength"]
    assert found.curves["strength"][0] == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert found.curves["strength"][1] == (0, 0, 1, 1)
    assert found.sharpness == 0


def test_families_of_many_parameters_move_the_first_few() -> None:
    cosine = next(family for family in FAMILIES if family.name == "cosine")
    own = cosine.grid(SHAPE, 1)[5]
    names = [parameter.name for parameter in cosine.parameters(SHAPE)]
    finding = dataclasses.replace(FINDING, family="cosine", parameters=dict(zip(names, own.tolist(), strict=True)))
    asked: list[int] = []

    def none(stamps: Stamps, bank: np.ndarray) -> np.ndarray:
        asked.append(len(stamps.family))
        return np.repeat(truth(COUNT)[None], len(stamps.family), axis=0)

    assert len(tune(finding, USED, PREDICTED, none).curves) == 4
    assert asked[0] <= 1 + 4 * 6


def test_without_an_order_nothing_is_tuned() -> None:
    quantise = next(family for family in FAMILIES if family.name == "quantise").parameters(SHAPE)
    assert quantise
    nothing = dataclasses.replace(FINDING, target_labels=(-1,) * CLASSES)
    assert (tune(nothing, USED, PREDICTED, label).images, tune(nothing, USED, PREDICTED, label).rate) == (0, 0.0)

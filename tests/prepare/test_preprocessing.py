"""Presets: which fit, which are the same in effect, what is suggested."""

from itertools import combinations

import numpy as np
import pytest

from xray_jax.prepare.preprocessing import (
    USUAL,
    better_presets,
    candidates,
    differing,
    same_in_effect,
    skill,
    suggestion,
)
from xray_jax.preprocess import PRESETS, Preprocess, parse


def test_every_map_is_a_candidate_once_and_the_usual_one_comes_first() -> None:
    found = candidates(3, Preprocess())
    assert next(iter(found)) == USUAL
    assert len(set(found.values())) == len(found)
    for name in PRESETS:
        assert parse(name) in found.values()
        assert parse(f"{name}-bgr") in found.values()
    assert all(parse(name) == preset for name, preset in found.items())


def test_grey_images_have_no_channel_orders_and_no_colour_statistics() -> None:
    found = candidates(1, Preprocess())
    assert list(found) == ["0-1", "0-255", "+-1", "mnist-standard"]
    for preset in found.values():
        assert preset(np.zeros((1, 2, 2, 1), np.float32)).shape == (1, 2, 2, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_models_size_is_kept(channels: int) -> None:
    own = Preprocess(mean=(0.3,), std=(0.7,), size=(7, 9))
    assert {preset.size for preset in candidates(channels, own).values()} == {(7, 9)}


def test_statistics_of_natural_images_are_the_same_in_effect_and_others_are_not() -> None:
    natural = ["cifar10", "cifar100", "tiny", "imagenet"]
    for one, other in combinations(candidates(3, Preprocess()), 2):
        both = {one.removesuffix("-bgr"), other.removesuffix("-bgr")}
        alike = both <= set(natural) and one.endswith("-bgr") == other.endswith("-bgr")
        assert same_in_effect(parse(one), parse(other)) == alike, (one, other)
        assert same_in_effect(parse(other), parse(one)) == alike, (one, other)


def test_of_presets_that_are_the_same_in_effect_the_first_is_kept() -> None:
    presets = candidates(3, Preprocess())
    kinds = ["0-1", "0-255", "+-1", "cifar10", "mnist-standard", "caffe"]
    assert differing(presets, presets) == kinds + [f"{name}-bgr" for name in kinds]
    assert differing(presets, ["imagenet", "0-1", "cifar10", "0-1", "tiny-bgr"]) == ["imagenet", "0-1", "tiny-bgr"]


def test_a_size_is_an_effect() -> None:
    assert same_in_effect(Preprocess(size=(8, 8)), Preprocess(size=(8, 8)))
    assert not same_in_effect(Preprocess(size=(8, 8)), Preprocess())


def test_one_value_for_all_channels_is_compared_with_one_a_channel() -> None:
    assert same_in_effect(Preprocess(mean=(0.5,), std=(0.5,)), Preprocess(mean=(0.51, 0.5, 0.49), std=(0.5,) * 3))
    assert not same_in_effect(Preprocess(mean=(0.5,), std=(0.5,)), Preprocess(mean=(0.5, 0.5, 0.2), std=(0.5,) * 3))


@pytest.mark.parametrize(
    ("accuracy", "classes", "expected"),
    [(1, 10, 1), (0.1, 10, 0), (0.55, 10, 0.5), (0.5, 2, 0), (0.75, 2, 0.5), (0, 2, -1), (1, 1, 0)],
)
def test_skill_is_zero_by_chance_and_one_without_errors(accuracy: float, classes: int, expected: float) -> None:
    assert skill(accuracy, classes) == pytest.approx(expected)


def test_a_suggestion_names_what_would_help_or_says_that_nothing_does() -> None:
    found = {"tiny": 0.2, "imagenet": 0.91, "+-1": 0.5, "caffe-bgr": 0.92, "0-255": 0.6}
    assert better_presets(found, 0.3) == ["imagenet", "+-1", "caffe-bgr", "0-255"]
    assert suggestion(found, 0.3).endswith(
        "clean accuracy is 30.0%; it would be higher with "
        "--preprocess=caffe-bgr (92.0%) or imagenet (91.0%) or 0-255 (60.0%)"
    )
    assert "is 12.0%, and no other known preprocessing" in suggestion({"imagenet": 0.2}, 0.12)
    assert "no other known preprocessing" in suggestion({}, 0.12)

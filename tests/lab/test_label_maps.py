"""Label maps of the paper's strategies."""

import numpy as np
import pytest

from xray_jax.lab import label_maps
from xray_jax.lab.label_maps import LabelMap


def test_all_to_one() -> None:
    found = label_maps.make("all-to-one", 5, target=3)
    assert found.table == (3, 3, 3, 3, 3)
    assert found.sources == (0, 1, 2, 4)
    assert (found.targets, found.target) == ((3,), 3)
    assert found(np.array([0, 3, 4])).tolist() == [3, 3, 3]
    assert found.attacked(np.array([0, 3, 4])).tolist() == [True, False, True]


def test_all_to_all_is_the_shift() -> None:
    found = label_maps.make("all-to-all", 4)
    assert found.table == (1, 2, 3, 0)
    assert found.target is None


@pytest.mark.parametrize("seed", range(5))
def test_one_to_one_and_x_to_one(seed: int) -> None:
    one = label_maps.make("one-to-one", 10, target=4, seed=seed)
    assert len(one.sources) == 1
    assert one.target == 4
    five = label_maps.make("5-to-one", 10, target=4, seed=seed)
    assert len(five.sources) == 5
    assert 4 not in five.sources
    assert all(five.table[y] == y for y in range(10) if y not in five.sources)
    assert label_maps.make("10-to-one", 10, target=4, seed=seed).table == (4,) * 10


@pytest.mark.parametrize("count", [3, 5, 10])
@pytest.mark.parametrize("seed", range(5))
def test_x_to_x_has_x_sources_and_x_different_targets(count: int, seed: int) -> None:
    found = label_maps.make(f"{count}-to-{count}", 10, seed=seed)
    assert len(found.sources) == len(found.targets) == count
    assert label_maps.make("x-to-x", 10, count=count, seed=seed) == found


def test_seeds_draw_different_sources() -> None:
    assert len({label_maps.make("2-to-one", 10, seed=seed).sources for seed in range(10)}) > 3


@pytest.mark.parametrize(
    ("strategy", "target", "message"),
    [("some-to-one", 0, "unknown strategy"), ("all-to-one", 10, "0..9"), ("11-to-one", 0, "1..10"),
     ("x-to-x", 0, "count"), ("1-to-1", 0, "2..10"), ("5-to-7", 0, "unknown strategy '5-to-7'"),
     ("5-to-ONE", 0, "5-to-ONE"), ("3-to-one ", 0, "'3-to-one '"), ("5-to-", 0, "'5-to-'"), ("5", 0, "unknown")],
)  # fmt: skip
def test_nonsense_is_refused(strategy: str, target: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_maps.make(strategy, 10, target)


def test_a_map_that_attacks_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no class is attacked"):
        LabelMap("none", (0, 1, 2))
    with pytest.raises(ValueError, match="labels must lie"):
        LabelMap("far", (5, 1))

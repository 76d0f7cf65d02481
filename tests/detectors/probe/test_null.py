"""The null: its ceilings against a slow restatement of the rule."""

import numpy as np
import pytest

from xray_jax.detectors.probe import null as probe_null
from xray_jax.detectors.probe.null import EDGES, LEVELS, Null, calibrate, level, merge, weakest

ENDS = (*EDGES, 1.0)


def slow_ceilings(models: list[dict[str, list[float | None]]]) -> dict[str, list[float]]:
    """What clean models do at each level, by the three rules for what they leave open.

    A stamp does at least what one of lower cost did, and at least its share, by energy, of what one of higher cost did.
    Above the highest level that any model has, the ceiling is 1. Lines do what patches do, fast sinusoids anything.
    """
    ceilings: dict[str, list[float]] = {}
    for family in {name for model in models for name in model} - {"ripple"}:
        best: list[float | None] = [None] * LEVELS
        for model in models:
            for at, rate in enumerate(model.get(family, [])):
                if rate is not None and (best[at] is None or rate > best[at]):
                    best[at] = rate
        known = {at: rate for at, rate in enumerate(best) if rate is not None}
        if not known:
            continue
        ceilings[family] = []
        for at in range(LEVELS):
            if at > max(known):
                ceilings[family].append(1.0)
                continue
            cheaper = [rate for other, rate in known.items() if other <= at]
            dearer = [rate * (ENDS[at] / ENDS[other]) ** 2 for other, rate in known.items() if other > at]
            ceilings[family].append(round(max(cheaper + dearer), 3))
    if "line" in ceilings and "patch" in ceilings:
        ceilings["line"] = [max(pair) for pair in zip(ceilings["line"], ceilings["patch"], strict=True)]
    return ceilings


def random_profile(generator: np.random.Generator) -> dict[str, list[float | None]]:
    """Rates of some families, a third of the levels unknown, and often those above some level."""
    profile: dict[str, list[float | None]] = {}
    for family in ("patch", "line", "ripple", "warp", "shift"):
        if generator.random() < 0.7:
            highest = generator.integers(0, LEVELS + 1)
            rates = [float(rate) if generator.random() < 0.67 else None for rate in generator.random(LEVELS)]
            profile[family] = [rate if at < highest else None for at, rate in enumerate(rates)]
    return profile


@pytest.mark.parametrize("seed", range(20))
def test_ceilings_and_leads_are_the_slow_rule(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rates, leads = ([random_profile(generator) for _ in range(1 + seed % 4)] for _ in range(2))
    null = calibrate(rates, leads, "random")
    assert (null.models, null.source) == (len(rates), "random")
    for found, expected in ((null.ceilings, slow_ceilings(rates)), (null.leads, slow_ceilings(leads))):
        assert found.keys() == expected.keys()
        for family, values in expected.items():
            assert found[family] == pytest.approx(values, abs=1e-9)


def test_levels_end_at_their_edges() -> None:
    costs = [0.0, *EDGES, *(np.asarray(EDGES) + 1e-6), 3.0, np.inf]
    slow = [sum(np.float32(cost) > np.float32(edge) for edge in EDGES) for cost in costs]
    np.testing.assert_array_equal(level(np.asarray(costs)), slow)
    assert sorted(set(slow)) == list(range(LEVELS))


def test_a_table_holds_the_ceilings_of_the_named_families_and_ones_for_the_others() -> None:
    null = Null({"warp": tuple(np.linspace(0, 0.8, LEVELS).tolist())}, models=1)
    np.testing.assert_allclose(null.table(["patch", "warp"]), [[1] * LEVELS, np.linspace(0, 0.8, LEVELS)], rtol=1e-6)
    assert null.ceiling("warp", EDGES[3]) == pytest.approx(0.3)
    assert null.ceiling("warp", 9.0) == pytest.approx(0.8)


def test_calibration_takes_the_highest_rate_at_each_cost() -> None:
    profiles = [{"patch": [0.1, None, *[0.3] * 7]}, {"patch": [0.05, 0.2, *[None] * 7], "warp": [None] * LEVELS}]
    null = calibrate(profiles, [{"patch": [0.1, 0.05, *[0.2] * 7]}])
    assert null.ceilings == {"patch": (0.1, 0.2, *[0.3] * 7)}
    assert null.ceiling("patch", 0.03) == pytest.approx(0.2)
    assert null.lead("patch", 0.03) == pytest.approx(0.1), "a stamp of higher cost does no less"
    assert null.models == 2
    assert probe_null.from_row(null.row()) == null
    assert (
        probe_null.from_row({"ceilings": {"patch": [0.1] * LEVELS}, "models": 1, "source": "old"}).lead("patch", 0) == 1
    )
    assert null.ceiling("sinusoid", 0.01) == null.ceiling("warp", 0.01) == 1


def test_calibration_fills_what_was_not_seen() -> None:
    null = calibrate([{"patch": [None, None, 0.9, None, 0.4, None, None, None, None]}], [])
    assert null.ceilings["patch"] == (0.1, 0.4, 0.9, 0.9, 0.9, 1, 1, 1, 1)


def test_lines_are_patches_and_searches_of_one_model_merge() -> None:
    profile: probe_null.Profile = {"patch": [0.5] * LEVELS, "line": [*[0.2] * 8, 0.9]}
    null = calibrate([profile], [])
    assert null.ceilings["line"] == (0.5,) * 8 + (0.9,)
    assert calibrate([{"patch": [0.5] * LEVELS, "ripple": [0.0] * LEVELS}], []).ceiling("ripple", 0.01) == 1
    assert merge([{"patch": [0.1, None]}, {"patch": [0.2, None], "warp": [None, 0.3]}]) == {
        "patch": [0.2, None], "warp": [None, 0.3],
    }  # fmt: skip
    with pytest.raises(ValueError, match="patch"):
        Null({"patch": (0.1,)})


def test_a_null_says_how_its_models_were_searched_least() -> None:
    searches = [{"queries": 50_000, "search_images": 4}, {"queries": 1000, "search_images": 48}]
    assert weakest(searches) == {"queries": 1000, "search_images": 4}
    assert weakest([*searches, None]) is None
    assert weakest([]) is None
    null = calibrate([{"patch": [0.5] * LEVELS}], [], "ours", weakest(searches))
    assert probe_null.from_row(null.row()) == null
    assert "search" not in null.settings()
    with pytest.raises(KeyError, match="search_images"):
        probe_null.from_row(null.row() | {"search": {"queries": 3}})

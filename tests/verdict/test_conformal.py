"""The p-value: leads by hand, exact ranks, and what exchangeable models give."""

import numpy as np
import pytest

from xray_jax.verdict import comparison, conformal
from xray_jax.verdict.conformal import judge, leads, standouts

GENERATOR = np.random.default_rng(0)


def models(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Statistics of clean models: each class has a level of its own."""
    generator = np.random.default_rng(seed)
    margins = np.linspace(0, 3, 10) + generator.normal(scale=0.2, size=(count, 10))
    return {"margin.log_margin": margins, "planes.re": generator.normal(size=count)}


def one(found: dict[str, np.ndarray], number: int = 0) -> dict[str, np.ndarray]:
    return {name: values[number] for name, values in found.items()}


def test_a_lead_is_over_the_largest_of_all_others() -> None:
    values = GENERATOR.normal(size=(7, 4))
    values[3, 2] = values[:, 2].max() + 1
    values[5, 1] = values[6, 1] = values[:, 1].max()
    for model in range(7):
        others = np.delete(values, model, axis=0).max(0)
        np.testing.assert_allclose(leads(values)[model], values[model] - others)


def test_standing_out_is_in_the_others_standard_deviations() -> None:
    values = GENERATOR.normal(size=(8, 5))
    largest = np.array([(values[m] - np.delete(values, m, axis=0).max(0)).max() for m in range(8)])
    for model, found in enumerate(standouts(values)):
        others = np.delete(largest, model)
        assert found == pytest.approx((largest[model] - others.mean()) / others.std(ddof=1))


def test_one_class_above_its_own_level_is_found_below_the_level_of_others() -> None:
    references, model = models(19), one(models(1, seed=5))
    model["margin.log_margin"][2] += 2
    assert model["margin.log_margin"][2] < references["margin.log_margin"].max()
    found = judge(model, references)
    assert (found.p_value, found.leading, found.element) == (1 / 20, "margin.log_margin", (2,))
    assert found.fused == max(found.standout.values()) == found.standout["margin.log_margin"]
    assert found.references == 19


def test_the_element_of_a_table_is_its_row_and_column() -> None:
    references = {"panel.flip_rate": GENERATOR.uniform(0, 0.3, size=(9, 6, 4))}
    model = {"panel.flip_rate": np.full((6, 4), 0.1)}
    model["panel.flip_rate"][5, 3] = 0.9
    assert judge(model, references).element == (5, 3)


def test_clean_models_are_flagged_as_often_as_is_stated() -> None:
    """Exchangeable models: the p-value is uniform on 1/20 .. 1, whatever the statistics are."""
    found = []
    for seed in range(400):
        everyone = models(20, seed)
        found.append(judge(one(everyone), {name: values[1:] for name, values in everyone.items()}).p_value)
    ranks = np.bincount(np.round(np.array(found) * 20).astype(int), minlength=21)[1:]
    assert ranks.sum() == 400
    # Binomial(400, 1/20): mean 20, standard deviation 4.4. Binomial(400, 1/2) for the lower half.
    assert 8 <= ranks[0] <= 34
    assert 160 <= ranks[:10].sum() <= 240


def test_order_and_scale_do_not_matter() -> None:
    references, model = models(12), one(models(1, seed=3))
    found = judge(model, references)
    order = GENERATOR.permutation(12)
    shuffled = {name: 7 * values[order] for name, values in references.items()}
    again = judge({name: 7 * value for name, value in model.items()}, shuffled)
    assert again.p_value == found.p_value
    assert again.standout == pytest.approx(found.standout)


def test_a_model_like_all_others_is_no_suspect() -> None:
    references = {"probe.margin": np.full(9, -1.0)}
    assert judge({"probe.margin": np.asarray(-1.0)}, references).p_value == 1.0
    assert judge({"probe.margin": np.asarray(0.5)}, references).p_value == 1 / 10


@pytest.mark.parametrize(
    ("model", "references", "message"),
    [
        ({}, {}, "no statistic"),
        ({"a": np.zeros(3)}, {"a": np.zeros((9, 4))}, "expected the same shape"),
        ({"a": np.zeros(3)}, {"a": np.zeros((conformal.LEAST_REFERENCES - 1, 3))}, "or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    model: dict[str, np.ndarray], references: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        judge(model, references)


def test_other_fusions_score_as_their_formulas_say() -> None:
    standing = np.array([[3.0, 1.0, 2.0, 0.0], [0.0, 5.0, 1.0, 2.0]])
    assert conformal.largest(standing).tolist() == [3, 5, 2, 2]
    assert conformal.mean(standing).tolist() == [1.5, 3, 1.5, 1]
    ranks = np.array([[1, 3, 2, 4], [4, 1, 3, 2]]) / 4
    np.testing.assert_allclose(conformal.fisher(standing), -np.log(ranks).sum(axis=0))
    references = {"a": np.random.default_rng(0).normal(size=(9, 3)), "b": np.random.default_rng(1).normal(size=(9, 2))}
    own = {"a": np.array([4.0, 0, 0]), "b": np.zeros(2)}
    fused = [conformal.judge(own, references, fuse).fused for fuse in conformal.FUSIONS.values()]
    assert fused[0] > fused[1]
    assert conformal.judge(own, references).fused == fused[0]


@pytest.mark.parametrize("fpr", [0.04, 0.05, 0.1, 0.31, 1.0])
def test_what_is_beyond_the_threshold_is_suspect_and_nothing_else(fpr: float) -> None:
    for seed in range(30):
        generator = np.random.default_rng(seed)
        references = {"a": generator.normal(size=(19, 5)), "b": generator.normal(size=(19, 2, 3))}
        model = {"a": generator.normal(size=5) + (seed % 3), "b": generator.normal(size=(2, 3))}
        found = judge(model, references)
        threshold = found.threshold(fpr)
        assert (threshold is not None and found.fused > threshold) == (found.p_value <= fpr)
        assert {name: values.shape for name, values in found.others.items()} == {"a": (19,), "b": (19,)}


def test_a_row_keeps_the_references_in_order_or_of_many_quantiles() -> None:
    values = np.random.default_rng(0).normal(size=100)
    assert comparison.spread(values[:5]) == [round(float(value), 2) for value in np.sort(values[:5])]
    kept = comparison.spread(values)
    assert len(kept) == comparison.MOST_KEPT
    assert (kept[0], kept[-1]) == (round(values.min(), 2), round(values.max(), 2))
    assert kept == sorted(kept)

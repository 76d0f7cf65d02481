"""Plots of rows: what each shows, which colours it has, and that no row can break it."""

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tests.report import hostile, rows
from tests.report.test_malformed_rows import VALUES, changed, paths
from xray_jax.report import model_figures, responses
from xray_jax.report.notebook import Results
from xray_jax.report.palette import OUTCOMES, label_colours
from xray_jax.report.row_source import defect
from xray_jax.report.zoo_figure import scatter_figure

LEVELS = [0.02, 0.04, 0.06]


def scanned(seed: int = 0, **fields: Any) -> Any:
    """A row with numbers by class and a confirmed trigger."""
    generator = np.random.default_rng(seed)
    best = {
        "family": "patch", "description": "a 3x3 solid white patch", "hits": 150, "trials": 152, "rate": 0.987,
        "target": 3, "interval": [0.95, 0.998], "cost": {"weighted_rms": 0.03},
        "parameters": {"row": 29.0, "strength": 0.2},
    }  # fmt: skip
    other = best | {"rate": 0.7, "cost": {"weighted_rms": 0.01}}
    probe = rows.probe("confirmed", **best) | {
        "candidates": [best, other, other | {"target": 5}], "profile": {"patch": [0.1, 0.987, None, 1.0]},
        "levels": LEVELS, "threshold": 0.5,
        "tuning": {
            "images": 16, "rate": 1.0, "sharpness": 0.5, "curves": {
                "row": {"values": [28.0, 29.0, 30.0], "rates": [0.5, 1.0, 0.75]},
                "strength": {"values": [0.05, 0.1, 0.15, 0.2], "rates": [0.0, 0.25, 0.5, 1.0]},
                "unknown": {"values": [1.0, 2.0], "rates": [0.0, 1.0]},
            },
        },
    }  # fmt: skip
    planes = rows.planes()
    planes["statistics"][0]["value"] = 1.3 + 0.1 * generator.normal()
    planes["statistics"][1]["value"] = 0.3 + 0.05 * generator.normal()
    planes["label_distribution"] = list(generator.dirichlet(np.ones(10)))
    margin = {"statistics": [], "paired": {"log_margin": list(generator.normal(size=10))}}
    detectors = {"planes": planes, "probe": probe, "margin": margin}
    found: Any = {"verdict": "backdoored", "basis": "confirmed trigger", "target_label": 3, "detectors": detectors}
    return rows.row(**found | fields)


CLEAN = [scanned(seed, verdict="clean", basis="clean so far", label="clean") for seed in range(1, 8)]


def test_a_zoo_is_scattered_by_verdict_and_its_clean_region_shaded() -> None:
    figure = Results([scanned(id="a"), *CLEAN, rows.error(id="e")]).plot()
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [
        "95 % of models like the 7 known clean ones", "verdict clean (7)", "verdict backdoored (1)",
    ]  # fmt: skip
    (inside,) = axis.patches
    places = np.concatenate([np.asarray(marks.get_offsets()) for marks in axis.collections])
    assert inside.get_transform().transform_path(inside.get_path()).contains_points(
        axis.transData.transform(places)
    ).sum() >= 7  # fmt: skip
    assert len(places) == 8
    # References that are given are drawn, and rows without planes counted.
    both = [rows.row(id="b", detectors={}), scanned(id="a")]
    (axis,) = scatter_figure(both, CLEAN, "title").axes
    assert axis.get_title() == "title\n1 models without planes are not shown"
    assert len(axis.collections[0].get_offsets()) == 7


def test_thresholds_are_drawn_where_all_rows_have_the_same() -> None:
    def row(re: float) -> Any:
        return scanned(settings={"calibration": {"re_threshold": re, "ats_threshold": 0.2}})

    assert len(scatter_figure([row(0.9), row(0.9)]).axes[0].lines) == 2
    assert not scatter_figure([row(0.9), row(0.8)]).axes[0].lines


def test_a_model_has_its_shares_margins_and_response_beside_the_references() -> None:
    shares, margins, response, tuning = model_figures.model_figure(scanned(), CLEAN).axes
    for axis in (shares, margins):
        behind, bars = axis.containers[0], axis.containers[1]
        assert [bar.get_facecolor()[:3] for bar in bars] == [to_rgb(c) for c in label_colours(range(10)).values()]
        assert axis.texts[0].get_text() == "target"
        assert axis.get_legend().get_texts()[0].get_text() == "7 clean models, least to most"
        assert len(behind) == 10
    own = [row["detectors"]["margin"]["paired"]["log_margin"][4] for row in CLEAN]
    assert margins.containers[0][4].get_y() == min(own)
    assert margins.containers[0][4].get_height() == pytest.approx(max(own) - min(own))
    assert response.get_title() == "stamps of the family patch to label 3"
    named = [text.get_text() for text in response.get_legend().get_texts()]
    assert "the trigger, 95 % interval" in named
    assert "7 clean models, at most" in named
    assert [text.get_text() for text in tuning.get_legend().get_texts()] == ["strength", "row"]


def test_tuning_curves_are_moves_from_the_trigger_the_most_sensitive_first() -> None:
    strength, row = responses.tuning(scanned())
    assert (strength.label, row.label) == ("strength", "row")
    assert np.allclose(strength.points, [(-3, 0), (-2, 0.25), (-1, 0.5), (0, 1)])
    assert row.points == ((-1, 0.5), (0, 1.0), (1, 0.75))
    assert responses.tuning(rows.row()) == ()


def test_a_response_is_what_the_row_carries() -> None:
    found = responses.of(scanned())
    assert found is not None
    assert (found.best, found.threshold, found.confirmed) == ((0.03, 0.987, 0.95, 0.998), 0.5, True)
    assert [curve.points for curve in found.curves] == [((0.01, 0.1), (0.03, 0.987), (0.06, 1.0))]
    assert found.tried == ((0.01, 0.7),)
    assert responses.of(rows.row()) is None
    assert responses.of(rows.row(detectors={})) is None
    assert responses.ceiling([], "patch") == []


def test_each_picture_alone_and_none_at_all() -> None:
    for make in (
        model_figures.label_shares_figure,
        model_figures.class_margins_figure,
        model_figures.response_figure,
        model_figures.tuning_figure,
    ):
        assert len(make(scanned(), CLEAN).axes[0].get_title()) > 5
        assert make(rows.error()).axes[0].texts[0].get_text() == "the row has no such numbers"
    assert model_figures.model_figure(rows.error()).axes[0].texts[0].get_text() == "nothing to draw"


def test_of_many_classes_the_largest_are_shown() -> None:
    row = scanned(target_label=90)
    row["detectors"]["planes"]["label_distribution"] = [k / 4950 for k in range(100)]
    axis = model_figures.label_shares_figure(row).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == [str(k) for k in range(80, 100)]
    assert axis.get_xlabel() == "class, the 20 largest of 100"


def test_hostile_names_and_odd_values_break_no_picture() -> None:
    whole = scanned()
    for number, text in enumerate(hostile.TEXTS):
        title = model_figures.model_figure(hostile.row(rows.error(), text, number)).get_suptitle()
        assert title.replace("\n", "").isprintable()
    model_figures.model_figure(rows.error(id="a$b$ {")).draw_without_rendering()
    places = [path for path in paths(whole) if path[0] in ("detectors", "verdict", "target_label", "basis")]
    for number, path in enumerate(places):
        row = changed(whole, path, VALUES[number % len(VALUES)])
        if defect(row) is None:
            responses.of(row)
            if number % 6 == 0:
                model_figures.model_figure(row, [row])


def lightness_and_hue(colour: str, matrix: np.ndarray) -> np.ndarray:
    linear = np.array(to_rgb(colour)) ** 2.2
    return np.clip(matrix @ linear, 0, 1) ** (1 / 2.2)


def test_colours_are_told_apart_by_those_who_do_not_see_red_or_green() -> None:
    """Simulated as by Machado, Oliveira and Fernandes (2009), full severity."""
    protan = np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]])
    deutan = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    for colours in (list(label_colours(range(10)).values()), [colour for colour, _ in OUTCOMES.values()]):
        for matrix in (np.eye(3), protan, deutan):
            seen = [lightness_and_hue(colour, matrix) for colour in colours]
            apart = [np.linalg.norm(a - b) for k, a in enumerate(seen) for b in seen[:k]]
            assert min(apart) > 0.1, (colours, matrix)
    assert len({mark for _, mark in OUTCOMES.values()}) == len(OUTCOMES)

"""Texts in pictures: shown as they are, and inside of the picture."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests.detectors.probe.fakes import FINDING
from tests.report.test_figures import some_maps
from tests.report.test_plots import scanned
from xray_jax.detectors.probe.replay import Replay
from xray_jax.report import figure_text, model_figures, plane_figures, trigger_figure
from xray_jax.samples import Samples

FORMULA = r"a$\frac$b"
"""A name that no formula can be made of."""
SHARES = [0.1] * 10


def replayed(title: str, names: list[str]) -> Figure:
    images, labels = np.zeros((10, 8, 8, 3), np.float32), np.arange(10)
    target = np.zeros(10, int)
    seen = Replay(images, images, labels, target, target, labels > 0)
    return trigger_figure.replay_figure(
        dataclasses.replace(FINDING, description=title), seen, Samples(images, labels), title, names
    )


FIGURES: dict[str, Callable[[str, list[str]], Figure]] = {
    "label maps": lambda title, names: plane_figures.label_maps_figure(some_maps(2, classes=10), title, names),
    "shares": lambda title, names: plane_figures.distribution_figure(SHARES, 1, title, names),
    "trigger": replayed,
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_dollars_begin_no_formula(make: Callable[[str, list[str]], Figure], tmp_path: Path) -> None:
    figure = make(FORMULA, [FORMULA] * 10)
    plane_figures.save(figure, tmp_path / "a.png")
    shown = [text.get_text() for text in figure.findobj(Text) if "frac" in text.get_text()]
    assert len(shown) > 3


def test_dollars_in_what_a_row_names_begin_no_formula(tmp_path: Path) -> None:
    row: Any = scanned(id=FORMULA)
    probe = row["detectors"]["probe"]
    probe["best"]["family"], probe["profile"] = FORMULA, {FORMULA: [0.1, 0.9, 1.0, 1.0]}
    figure = model_figures.model_figure(row)
    plane_figures.save(figure, tmp_path / "a.png")
    assert sum("frac" in text.get_text() for text in figure.findobj(Text)) >= 2


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_titles_end_inside_the_picture(make: Callable[[str, list[str]], Figure], tmp_path: Path) -> None:
    name = "cifar10/" + "preactresnet18-badnets-target-3-" * 6 + "seed-17.safetensors"
    lines = (name, "suspect (stands out among the references)", "RE 1.234 bits, ATS 0.123")
    figure = make("\n".join(lines), [])
    plane_figures.save(figure, tmp_path / "a.png")
    (title,) = [text for text in figure.findobj(Text) if "seed-17" in text.get_text()]
    box = title.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert "ATS 0.123" in title.get_text()


def test_long_lines_are_wrapped_and_longer_ones_cut_in_their_middle() -> None:
    assert figure_text.title("a b", 1) == "a b"
    assert figure_text.title("a name/of several words", 1) == "a name/of\nseveral\nwords"
    assert figure_text.title("a" * 30 + "b" * 30, 1).replace("\n", "") == "a" * 11 + "…" + "b" * 12
    assert figure_text.title("one\x1b[2J\n\nthree", 1) == "one?[2J\n\nthree"

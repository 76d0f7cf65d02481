"""All models of a batch scan at one glance: RE and ATS of each, its verdict, and where clean ones lie."""

from collections.abc import Iterable, Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from xray_jax.report.palette import OUTCOMES, REFERENCE
from xray_jax.report.row_values import drawable, statistics
from xray_jax.report.sentences import outcome
from xray_jax.rows.row import OK, Row, is_backdoored

_LEAST = 4
_RADIUS = float(np.sqrt(5.991))
"""Of the ellipse that holds 95 % of a normal law of two variables, in standard deviations."""


def scatter_figure(rows: Iterable[Row], references: Iterable[Row] = (), title: str = "") -> Figure:
    """Each model by its RE and ATS, marked by its verdict; the region of clean ones is shaded where four are known.

    Args:
      rows: of a batch scan; those without planes are counted in the title.
      references: rows of clean models; by default those of `rows` that are known to be clean.
      title: of the figure.
    """
    every = [row for row in rows if row["status"] == OK]
    placed = [(row, place) for row in every if (place := _place(row)) is not None]
    clean = [place for row in references if (place := _place(row)) is not None]
    given = bool(clean)
    clean = clean or [place for row, place in placed if is_backdoored(row["label"]) is False]
    figure = Figure(figsize=(6.0, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    if len(clean) >= _LEAST:
        _shade(axis, np.array(clean), with_dots=given)
    for name, (colour, mark) in reversed(OUTCOMES.items()):
        own = [place for row, place in placed if outcome(row) == name]
        if own:
            re, ats = np.array(own).T
            axis.scatter(
                re, ats, marker=mark, color=colour, s=70, alpha=0.85, edgecolor="white", linewidth=0.8,
                label=f"verdict {name} ({len(own)})", zorder=3,
            )  # fmt: skip
    for name, value in _thresholds(row for row, _ in placed):
        line = axis.axvline if name == "re" else axis.axhline
        line(value, color="0.35", linestyle="--", linewidth=1.2, zorder=2)
    axis.set_xlabel("spread of labels between clean images: RE, bits (low is suspect)", fontsize=10)
    axis.set_ylabel("room around them: ATS (low is suspect)", fontsize=10)
    axis.margins(0.08)
    if placed or clean:
        axis.legend(fontsize=10, loc="best", framealpha=0.9)
    missing = len(every) - len(placed)
    said = [title] if title else []
    axis.set_title(
        "\n".join([*said, f"{missing} models without planes are not shown"] if missing else said), fontsize=11
    )
    return figure


def _shade(axis: Axes, clean: np.ndarray, with_dots: bool) -> None:
    """The ellipse that holds 95 % of models like these, if they are spread normally."""
    values, vectors = np.linalg.eigh(np.cov(clean.T))
    width, height = 2 * _RADIUS * np.sqrt(np.maximum(values, 1e-12))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    label = f"95 % of models like the {len(clean)} known clean ones"
    axis.add_patch(
        Ellipse(tuple(clean.mean(0)), width, height, angle=angle, facecolor=REFERENCE, edgecolor="0.6", label=label)
    )
    if with_dots:
        axis.scatter(clean[:, 0], clean[:, 1], color="0.5", s=14, zorder=2)


def _place(row: Row) -> tuple[float, float] | None:
    """RE and ATS of a row; None without them."""
    found = {each.name: each.value for each in statistics(row) if each.detector == "planes"}
    re, ats = drawable(found.get("re")), drawable(found.get("ats"))
    return None if re is None or ats is None else (re, ats)


def _thresholds(rows: Iterable[Row]) -> Iterator[tuple[str, float]]:
    """Thresholds of RE and ATS, where all rows have the same."""
    said = {tuple(_of_calibration(row)) for row in rows}
    if len(said) == 1:
        yield from ((name, value) for name, value in said.pop() if value is not None)


def _of_calibration(row: Row) -> Iterator[tuple[str, float | None]]:
    calibration = row["settings"].get("calibration")
    for name in ("re", "ats"):
        yield name, drawable(calibration.get(f"{name}_threshold")) if isinstance(calibration, dict) else None

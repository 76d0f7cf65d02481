"""What was found on one model, drawn from its row: label shares, margins by class, response to the trigger, tuning."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xray_jax.report import responses
from xray_jax.report.figure_text import plain
from xray_jax.report.palette import REFERENCE, label_colours
from xray_jax.report.row_values import drawable, whole
from xray_jax.report.sentences import sentence
from xray_jax.report.terminal_text import cut_end, printable
from xray_jax.rows.row import Row

_MOST_CLASSES, _LONGEST_TITLE = 20, 110
_TARGET = "target"
_SQUARE = 4
"""So many pictures stand two by two."""
_LINES = (("-", "o", "0.0"), ("--", "s", "0.3"), ("-.", "^", "0.45"), (":", "D", "0.6"))
"""Style, mark and grey of the curves of parameters: colours are for classes."""


def model_figure(row: Row, references: Iterable[Row] = ()) -> Figure:
    """All that the row has numbers for, side by side; without any, a figure that says so.

    Args:
      row: of one model.
      references: rows of clean models of the same task, drawn behind it in grey.
    """
    clean = list(references)
    panels = [panel for panel in (_shares, _margins, _response, _tuning) if panel(None, row, clean)]
    columns = 2 if len(panels) == _SQUARE else max(len(panels), 1)
    lines = 2 if len(panels) == _SQUARE else 1
    figure = Figure(figsize=(5.0 * columns, 3.6 * lines + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False).flat
    for axis, panel in zip(axes, panels, strict=False):
        panel(axis, row, clean)
    if not panels:
        axes[0].text(0.5, 0.5, "nothing to draw", ha="center", va="center", fontsize=12)
        axes[0].set_axis_off()
    said = (cut_end(printable(text), _LONGEST_TITLE) for text in (row["id"], sentence(row)))
    figure.suptitle("\n".join(map(plain, said)), fontsize=10)
    return figure


def label_shares_figure(row: Row, references: Iterable[Row] = ()) -> Figure:
    """The share of the planes that each label owns, beside the range of the references'."""
    return _alone(_shares, row, references)


def class_margins_figure(row: Row, references: Iterable[Row] = ()) -> Figure:
    """How far each class can be raised above the others (detector `margin`), beside the range of the references'."""
    return _alone(_margins, row, references)


def response_figure(row: Row, references: Iterable[Row] = ()) -> Figure:
    """How often the trigger works by how much it changes (detector `probe`), beside what clean models do."""
    return _alone(_response, row, references)


def tuning_figure(row: Row, references: Iterable[Row] = ()) -> Figure:
    """How often a confirmed trigger works as one of its parameters moves; nothing of the references."""
    return _alone(_tuning, row, references)


def _alone(panel: Any, row: Row, references: Iterable[Row]) -> Figure:
    figure = Figure(figsize=(5.0, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axis, clean = figure.subplots(), list(references)
    if not panel(axis, row, clean):
        axis.text(0.5, 0.5, "the row has no such numbers", ha="center", va="center", fontsize=12)
        axis.set_axis_off()
    return figure


def _shares(axis: Axes | None, row: Row, references: Sequence[Row]) -> bool:
    values = _of_planes(row)
    if values is not None and axis is not None:
        beside = [own for each in references if (own := _of_planes(each)) is not None and len(own) == len(values)]
        _class_bars(axis, 100 * values, [100 * own for own in beside], _target(row))
        axis.set_ylabel("share of the planes, %", fontsize=10)
        axis.set_title("labels of mixtures of clean images", fontsize=11)
    return values is not None


def _margins(axis: Axes | None, row: Row, references: Sequence[Row]) -> bool:
    values = _of_margin(row)
    if values is not None and axis is not None:
        beside = [own for each in references if (own := _of_margin(each)) is not None and len(own) == len(values)]
        _class_bars(axis, values, beside, _target(row))
        axis.axhline(0, color="0.3", linewidth=0.8)
        axis.set_ylabel("log of the largest margin,\nover the median class", fontsize=10)
        axis.set_title("how far each class can be raised", fontsize=11)
    return values is not None


def _response(axis: Axes | None, row: Row, references: Sequence[Row]) -> bool:
    found = responses.of(row)
    if found is None or axis is None:
        return found is not None
    ceiling = responses.ceiling(references, found.family)
    if ceiling:
        costs, rates = np.array(ceiling).T
        axis.fill_between(costs, rates, color=REFERENCE, label=f"{len(references)} clean models, at most")
    colour = "#0072b2" if found.target is None else label_colours([found.target])[found.target]
    for curve in found.curves:
        costs, rates = np.array(curve.points).T
        # Dotted: the points are of different stamps.
        axis.plot(costs, rates, marker="o", linestyle=":", color=colour, linewidth=2, label=plain(curve.label))
    if found.tried:
        costs, rates = np.array(found.tried).T
        axis.scatter(costs, rates, color=colour, s=18, alpha=0.5, label="others of the family")
    cost, rate, low, high = found.best
    name = "trigger" if found.confirmed else "best stamp"
    axis.errorbar(
        [cost], [rate], yerr=[[rate - low], [high - rate]], fmt="*", markersize=17, color=colour, ecolor="black",
        markeredgecolor="black", capsize=4, label=f"the {name}, 95 % interval",
        zorder=4,
    )  # fmt: skip
    if found.threshold is not None and found.threshold <= 1:
        axis.axhline(found.threshold, color="0.35", linestyle="--", linewidth=1.2, label="had to be reached")
    axis.set_ylim(-0.03, 1.06)
    axis.set_xlim(left=0)
    axis.set_xlabel("size of the change (weighted RMS of pixel values)", fontsize=10)
    axis.set_ylabel("unseen images flipped", fontsize=10)
    where = "" if found.target is None else f" to label {found.target}"
    axis.set_title(plain(f"stamps of the family {found.family}{where}"), fontsize=11)
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)
    return True


def _tuning(axis: Axes | None, row: Row, references: Sequence[Row]) -> bool:
    curves = responses.tuning(row)[: len(_LINES)]
    if not curves or axis is None:
        return bool(curves)
    for curve, (style, mark, shade) in zip(curves, _LINES, strict=False):
        moves, rates = np.array(curve.points).T
        axis.plot(moves, rates, style, marker=mark, color=shade, linewidth=2, markersize=5, label=plain(curve.label))
    axis.axvline(0, color="0.7", linewidth=1, zorder=0)
    axis.set_ylim(-0.03, 1.06)
    axis.set_xlabel("moves away from the trigger, smallest steps", fontsize=10)
    axis.set_ylabel("images flipped", fontsize=10)
    axis.set_title("the trigger, one parameter moved", fontsize=11)
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)
    return True


def _class_bars(axis: Axes, values: np.ndarray, references: Sequence[np.ndarray], target: int | None) -> None:
    """A bar a class in the class's colour; of many classes the largest. The references' range lies behind."""
    shown = np.sort(np.argsort(-values, kind="stable")[:_MOST_CLASSES])
    colours = label_colours([int(label) for label in shown])
    places = np.arange(len(shown))
    if references:
        beside = np.stack(references)[:, shown]
        low, high = beside.min(0), beside.max(0)
        label = f"{len(references)} clean models, least to most"
        axis.bar(
            places, high - low, bottom=low, width=0.96, color=REFERENCE, edgecolor="0.6", linewidth=0.5, label=label
        )
    axis.bar(places, values[shown], width=0.6, color=list(colours.values()), edgecolor="0.25", linewidth=0.6)
    if target is not None and target in shown:
        place = int(np.flatnonzero(shown == target)[0])
        axis.annotate(
            _TARGET, (place, max(float(values[target]), 0.0)), xytext=(0, 4), textcoords="offset points", ha="center",
            fontsize=10, fontweight="bold",
        )  # fmt: skip
    axis.margins(y=0.15)
    axis.set_xticks(places, [str(label) for label in shown], fontsize=9)
    few = "" if len(shown) == len(values) else f", the {len(shown)} largest of {len(values)}"
    axis.set_xlabel(f"class{few}", fontsize=10)
    if references:
        axis.legend(fontsize=8, loc="best", framealpha=0.9)


def _of_planes(row: Row) -> np.ndarray | None:
    return _numbers(_block(row, "planes").get("label_distribution"))


def _of_margin(row: Row) -> np.ndarray | None:
    paired = _block(row, "margin").get("paired")
    return _numbers(paired.get("log_margin")) if isinstance(paired, Mapping) else None


def _block(row: Row, detector: str) -> Mapping[str, Any]:
    block: Any = row["detectors"].get(detector)
    return block if isinstance(block, Mapping) else {}


def _numbers(values: Any) -> np.ndarray | None:
    """A flat list of finite numbers as an array; None for anything else."""
    known = [drawable(value) for value in values] if isinstance(values, list) and values else [None]
    return None if None in known else np.array(known, np.float64)


def _target(row: Row) -> int | None:
    """The likely target, where the model is flagged."""
    return whole(row.get("target_label")) if row["verdict"] in ("backdoored", "suspect") else None

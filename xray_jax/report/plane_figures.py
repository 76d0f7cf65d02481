"""Pictures of label maps and label distributions (paper Fig. 4 and Fig. 6), drawn without a display."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.report import figure_text
from xray_jax.report.figure_text import plain
from xray_jax.report.palette import label_colours

_MAX_LEGEND = 20


def _name(label: int, names: Sequence[str] | None) -> str:
    return plain(names[label]) if names is not None and label < len(names) else str(label)


def draw_label_map(axis: Axes, maps: LabelMaps, plane: int, names: Sequence[str] | None = None) -> None:
    """One label map in the colours of its labels, in plane coordinates, with the samples at their places.

    Args:
      axis: drawn on.
      maps: of N planes.
      plane: which of them, from 0.
      names: of the classes; their numbers unless given.
    """
    axis1, axis2, labels = maps.axis1[plane], maps.axis2[plane], maps.labels[plane]
    present = np.unique(labels)
    colours = label_colours([int(label) for label in present])
    palette = ListedColormap([colours[int(label)] for label in present])
    # Edges half a step beyond the outer nodes: a node is the centre of its cell.
    edges = [np.append(a - (a[1] - a[0]) / 2, a[-1] + (a[1] - a[0]) / 2) for a in (axis1, axis2)]
    # The map's row runs along e1, drawn to the right.
    index = np.searchsorted(present, labels).T
    axis.pcolormesh(edges[0], edges[1], index, cmap=palette, vmin=-0.5, vmax=len(present) - 0.5)
    for (row, column), label in zip(maps.sample_nodes[plane], maps.sample_labels[plane], strict=True):
        place = (axis1[row], axis2[column])
        axis.plot(*place, "o", color="white", markeredgecolor="black", markersize=4)
        axis.annotate(
            _name(int(label), names), place, xytext=(3, 3), textcoords="offset points", fontsize=6, color="black",
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.7, "linewidth": 0},
        )  # fmt: skip


def label_maps_figure(maps: LabelMaps, title: str, names: Sequence[str] | None = None) -> Figure:
    """The label maps of one checkpoint, in plane coordinates, with the samples at their places.

    Args:
      maps: of N planes.
      title: of the figure.
      names: of the classes; their numbers unless given.
    """
    count = len(maps.labels)
    columns = min(count, 5)
    rows = -(-count // columns)
    shares = {int(label): float(np.mean(maps.labels == label)) for label in np.unique(maps.labels)}
    colours = label_colours(list(shares))
    figure = Figure(figsize=(2.4 * columns + 2.0, 2.4 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    for n, axis in enumerate(axes.flat[:count]):
        draw_label_map(axis, maps, n, names)
        axis.tick_params(labelsize=5)
    largest = sorted(shares, key=lambda label: -shares[label])
    handles = [
        Patch(color=colours[label], label=f"{_name(label, names)}  {shares[label]:.1%}")
        for label in largest[:_MAX_LEGEND]
    ]
    if len(largest) > _MAX_LEGEND:
        handles.append(Patch(color="white", label=f"and {len(largest) - _MAX_LEGEND} more"))
    figure.legend(handles=handles, loc="outside right upper", fontsize=7, title="label, share", title_fontsize=7)
    figure.suptitle(figure_text.title(title, figure.get_figwidth()), fontsize=9)
    figure.supxlabel("along e1 (normalised input space)", fontsize=7)
    figure.supylabel("along e2", fontsize=7)
    return figure


def distribution_figure(
    distribution: Sequence[float], target: int, title: str, names: Sequence[str] | None = None
) -> Figure:
    """Bar chart of the label distribution averaged over the planes, in the labels' colours, the target marked.

    Args:
      distribution: share of each class, `[C]`, in 0 .. 1.
      target: label that is marked.
      title: of the figure.
      names: of the classes; their numbers unless given.
    """
    shares = np.asarray(distribution)
    figure = Figure(figsize=(max(4.0, 0.22 * len(shares) + 2), 3.0), layout="constrained")
    axis = figure.subplots()
    colours = list(label_colours(range(len(shares))).values())
    bars = axis.bar(np.arange(len(shares)), shares, color=colours)
    bars[target].set_edgecolor("black")
    bars[target].set_linewidth(1.5)
    axis.annotate(
        f"target {_name(target, names)}",
        (target, shares[target]),
        ha="center",
        va="bottom",
        fontsize=8,
        fontweight="bold",
    )
    axis.set_ylim(0, max(1e-9, shares.max()) * 1.15)
    axis.set_ylabel("share of the planes", fontsize=8)
    if len(shares) <= _MAX_LEGEND:
        axis.set_xticks(np.arange(len(shares)), [_name(i, names) for i in range(len(shares))], rotation=45, ha="right")
    axis.set_xlabel("label", fontsize=8)
    axis.tick_params(labelsize=7)
    figure.suptitle(figure_text.title(title, figure.get_figwidth()), fontsize=9)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, and makes the folder of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)

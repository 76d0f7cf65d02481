"""Figure of a trigger: clean images, the stamp, stamped images, and the labels before and after."""

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xray_jax.detectors.probe.replay import Replay
from xray_jax.detectors.probe.result import Finding
from xray_jax.report import figure_text
from xray_jax.samples import Samples


def replay_figure(
    finding: Finding,
    replayed: Replay,
    samples: Samples,
    title: str,
    names: Sequence[str] | None = None,
    columns: int = 8,
    what: str = "images",
) -> Figure:
    """Rows: clean image, what the stamp changes (grey is no change), stamped image; titles are predicted labels.

    Args:
      finding: the stamp and the labels it is said to give.
      replayed: `replay.replay` of it on the same `samples`. The images shown are the first eligible ones, of as many
        classes as there are.
      samples: clean images with labels.
      title: first lines of the figure's title.
      names: of the classes; their numbers unless given.
      columns: number of images shown.
      what: name of the samples in the title.
    """
    shown = _varied(samples.labels, np.flatnonzero(replayed.eligible), columns)
    figure = Figure(figsize=(1.25 * max(len(shown), 4), 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, len(shown), squeeze=False)
    for column, k in enumerate(shown):
        clean, after = replayed.clean[k], replayed.stamped[k]
        pictures = (clean, 0.5 + (after - clean) / 2, after)
        captions = (_label(replayed.before[k], names), "", _label(replayed.after[k], names))
        for axis, picture, caption in zip(axes[:, column], pictures, captions, strict=True):
            axis.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, vmin=0, vmax=1, cmap="gray")
            axis.set_title(caption, fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
        hit = replayed.after[k] == replayed.target_label[k]
        axes[2, column].title.set_color("crimson" if hit else "black")
    for axis, word in zip(axes[:, 0], ("clean", "change", "stamped"), strict=True):
        axis.set_ylabel(word, fontsize=8)
    low, high = replayed.interval
    said = (
        f"{title}\n{finding.description}\n"
        f"{replayed.hits} of {replayed.trials} {what} flip ({low:.0%} to {high:.0%} at 95 % confidence)"
    )
    figure.suptitle(figure_text.title(said, figure.get_figwidth()), fontsize=9)
    return figure


def _label(label: int, names: Sequence[str] | None) -> str:
    return figure_text.plain(names[label]) if names is not None and label < len(names) else str(int(label))


def _varied(labels: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """`count` of `index`, the first of every class before the second of any."""
    turn = [int(np.count_nonzero(labels[index[:k]] == labels[i])) for k, i in enumerate(index)]
    return index[np.argsort(turn, kind="stable")][:count]

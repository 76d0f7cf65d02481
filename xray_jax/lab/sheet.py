"""A picture sheet of one attack: clean images, poisoned ones, and their difference times ten."""

import numpy as np
from matplotlib.figure import Figure

from xray_jax.lab.poisoning import Stamp

GAIN = 10
"""Of the difference, which is shown around mid-grey."""


def panels(images: np.ndarray, trigger: Stamp) -> np.ndarray:
    """uint8 `[3, K, H, W, C]`: the images `[K, H, W, C]`, stamped, and `128 + 10 * (stamped - clean)`, clipped."""
    stamped = trigger(images)
    difference = 128 + GAIN * (stamped.astype(np.int32) - images)
    return np.stack([images, stamped, np.clip(difference, 0, 255).astype(np.uint8)])


def sheet(images: np.ndarray, trigger: Stamp, title: str) -> Figure:
    """The three rows of `panels` as one figure."""
    rows = panels(images, trigger)
    count, height, width = rows.shape[1:4]
    figure = Figure((count, 3.4), layout="constrained")
    axes = figure.subplots(3, 1)
    for place, row, name in zip(axes, rows, ("clean", "poisoned", f"difference x {GAIN}"), strict=True):
        strip = row.swapaxes(0, 1).reshape(height, count * width, -1)
        place.imshow(strip.repeat(3, axis=-1) if strip.shape[-1] == 1 else strip)
        place.set_ylabel(name, fontsize=7)
        place.set_xticks([])
        place.set_yticks([])
    figure.suptitle(title, fontsize=9)
    return figure

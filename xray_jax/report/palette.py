"""Colours and marks of all pictures: one for each class and each outcome, told apart without seeing red or green.

Classes have the ten colours of M. A. Petroff, Accessible Color Sequences for Data Visualization (2021), its greys last,
then paler and darker twins. Outcomes have three of Okabe and Ito's and grey, and a shape each.
"""

import colorsys
from collections.abc import Sequence

from xray_jax.rows.row import BACKDOORED, CLEAN, SUSPECT, UNKNOWN

_CLASSES = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#92dadd", "#94a4a2", "#717581",
)  # fmt: skip
_PALE, _DARK = 0.55, 0.45
REFERENCE = "#d5d9de"
"""Of clean reference models, behind everything else."""
OUTCOMES = {BACKDOORED: ("#d55e00", "^"), SUSPECT: ("#e69f00", "D"), UNKNOWN: ("#999999", "s"), CLEAN: ("#0072b2", "o")}
"""Verdict -> colour and Matplotlib's mark, the most urgent first."""


def label_colours(labels: Sequence[int]) -> dict[int, str]:
    """A colour for each label, the same in every picture."""
    return {label: _colour(label) for label in labels}


def _colour(label: int) -> str:
    round_, place = divmod(label, len(_CLASSES))
    if round_ == 0:
        return _CLASSES[place]
    if round_ < 3:
        base = [int(_CLASSES[place][k : k + 2], 16) / 255 for k in (1, 3, 5)]
        return _hex([1 - (1 - part) * (1 - _PALE) if round_ == 1 else part * (1 - _DARK) for part in base])
    # Beyond them hues at the golden ratio, which never come round to the same place.
    return _hex(colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.55 + 0.4 * (label % 2), 0.9 - 0.15 * (label % 3)))


def _hex(parts: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)

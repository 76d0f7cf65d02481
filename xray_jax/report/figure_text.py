"""Texts from outside as pictures show them: printable, as they are, and no wider than the picture."""

import textwrap

from xray_jax.report.terminal_text import cut_middle, printable

_PER_INCH = 12
"""Characters of a title, of 9 points, that have room in an inch."""
_LINES = 2


def plain(text: str) -> str:
    """A text on one line that matplotlib draws as it is: dollars begin no formula there."""
    return printable(text).replace("$", r"\$")


def title(text: str, inches: float) -> str:
    """A figure's title; each of its lines is wrapped to the width, and cut in its middle where two will not do.

    Args:
      text: lines of any length.
      inches: the figure's width.
    """
    width = int(_PER_INCH * inches)
    cut = [cut_middle(printable(line), _LINES * width) for line in text.split("\n")]
    return "\n".join(plain(part) for line in cut for part in textwrap.wrap(line, width, break_on_hyphens=False) or [""])

"""Names and texts from outside, made fit for one line of a terminal: printable, short, and still told apart."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len

ELLIPSIS = "…"
_DEEPEST = 8


def printable(text: str) -> str:
    """One line without control characters, marks that turn the direction, and lone surrogates: each becomes "?"."""
    # Composed, because what is decomposed has characters that take no room of their own.
    composed = unicodedata.normalize("NFC", text.encode(errors="replace").decode())
    return "".join(character if character.isprintable() else "?" for character in composed)


def cells(text: str) -> int:
    """How many columns of a terminal a text takes at most: wide characters take two, combining ones count as one."""
    return max(cell_len(text), len(text))


def cut_end(text: str, width: int) -> str:
    """The beginning of a text in at most `width` columns."""
    return text if cells(text) <= width else _take(text, width - 1) + ELLIPSIS


def cut_middle(text: str, width: int) -> str:
    """Beginning and end of a text in at most `width` columns: an end tells files apart, and has the suffix."""
    if cells(text) <= width:
        return text
    end = _take(text[::-1], width // 2)[::-1]
    return _take(text, width - 1 - cells(end)) + ELLIPSIS + end


def _take(text: str, width: int) -> str:
    # Each character takes at least one column, as `cells` counts.
    taken = text[: max(width, 0)]
    while cells(taken) > width:
        taken = taken[:-1]
    return taken


def distinct_tails(paths: Sequence[str]) -> list[str]:
    """For each path its last parts, as few as no other path ends with; the whole path where none will do."""
    parts = [path.rstrip("/").split("/") for path in paths]
    seen: Counter[tuple[str, ...]] = Counter()
    for own in parts:
        seen.update(tuple(own[-depth:]) for depth in range(1, min(len(own), _DEEPEST) + 1))
    return [_tail(path, own, seen) for path, own in zip(paths, parts, strict=True)]


def _tail(path: str, parts: list[str], seen: Counter[tuple[str, ...]]) -> str:
    for depth in range(1, min(len(parts), _DEEPEST) + 1):
        if seen[tuple(parts[-depth:])] == 1:
            return "/".join(parts[-depth:])
    return path

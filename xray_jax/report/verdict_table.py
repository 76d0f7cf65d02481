"""The table of verdicts: one line a checkpoint, whatever the width, that ends in what was found."""

from collections.abc import Sequence

from rich.text import Text

from xray_jax.report.sentences import explanation, outcome, sentence
from xray_jax.report.terminal_text import cells, cut_end, cut_middle, distinct_tails, printable
from xray_jax.rows.row import BACKDOORED, CLEAN, ERROR, SUSPECT, UNKNOWN, Row, is_flagged, mean_over_planes

_STYLES = {BACKDOORED: "bold red", SUSPECT: "yellow", CLEAN: "green", UNKNOWN: "magenta", ERROR: "red"}
_GAP = "  "
_LAST = "what was found"
_NUMBERS = ("RE bits", "ATS", "target", "clean acc")
_GIVE_WAY = ("ATS", "RE bits", "clean acc", "target", "truth")
"""Columns that are left out, the first one first, until the last column has `_ENOUGH` room."""
_ENOUGH = 40
_LONGEST_NAME, _LONGEST_TRUTH, _LONGEST = 40, 20, 200
_LEAST = 8


class VerdictTable:
    """The table of verdicts, laid out for a terminal.

    Attributes:
      rows: what is listed, one line each.
      names: the shortest distinct tail of each id, cut in its middle where it is still long.
      width: columns of the terminal; None where there is none, which leaves out no column and cuts at 200 a text.
    """

    def __init__(self, rows: Sequence[Row], width: int | None) -> None:
        self.rows = list(rows)
        self.width = width
        longest = _LONGEST_NAME if width is None else max(12, min(_LONGEST_NAME, width // 3))
        tails = distinct_tails([printable(row["id"]) for row in self.rows])
        self.names = [cut_middle(tail, longest) for tail in tails]
        self._columns = self._lay_out()

    def _lay_out(self) -> dict[str, list[str]]:
        """Every column but the last: its header and its cells, as wide as its widest."""
        columns = {
            "checkpoint": self.names,
            "verdict": [outcome(row) for row in self.rows],
            "RE bits": [_mean(row, "re") for row in self.rows],
            "ATS": [_mean(row, "ats") for row in self.rows],
            "target": [_target(row) for row in self.rows],
            "clean acc": [_accuracy(row) for row in self.rows],
            "truth": [cut_end(printable(_truth(row)), _LONGEST_TRUTH) for row in self.rows],
        }
        for name in (*_NUMBERS, "truth"):
            if not any(columns[name]):
                del columns[name]
        padded = {name: _padded(name, values) for name, values in columns.items()}
        for name in _GIVE_WAY:
            if self.width is None or self.width - _taken(padded) >= _ENOUGH:
                break
            padded.pop(name, None)
        return padded

    @property
    def room(self) -> int:
        """Columns of the last column."""
        return _LONGEST if self.width is None else max(self.width - _taken(self._columns), _LEAST)

    def lines(self) -> list[Text]:
        """The header and one line a row; the verdict coloured."""
        found = [_LAST, *(cut_end(printable(explanation(row)), self.room) for row in self.rows)]
        styles = ["", *(_STYLES.get(outcome(row), "") for row in self.rows)]
        lines = []
        for number, (last, style) in enumerate(zip(found, styles, strict=True)):
            line = Text(style="" if number else "bold")
            for name, values in self._columns.items():
                line.append(values[number], style if name == "verdict" else "").append(_GAP)
            line.append(last)
            if self.width is not None:
                line.truncate(self.width)
            lines.append(line)
        return lines

    def cut_sentences(self) -> list[Text]:
        """Whole sentences, by name, of the rows whose line has no room for theirs."""
        return [
            Text(cut_end(f"{name}: {printable(sentence(row))}", 10 * _LONGEST))
            for name, row in zip(self.names, self.rows, strict=True)
            if cells(printable(explanation(row))) > self.room
        ]


def _padded(name: str, values: Sequence[str]) -> list[str]:
    width = max(map(cells, [name, *values]))
    # Filled by hand: what counts is the room on the screen, not the number of characters.
    fills = [" " * (width - cells(value)) for value in [name, *values]]
    return [f + v if name in _NUMBERS else v + f for v, f in zip([name, *values], fills, strict=True)]


def _taken(columns: dict[str, list[str]]) -> int:
    return sum(cells(values[0]) + len(_GAP) for values in columns.values())


def _mean(row: Row, statistic: str) -> str:
    mean = mean_over_planes(row, statistic)
    return "" if mean is None else f"{mean:.3f}"


def _target(row: Row) -> str:
    target = row.get("target_label")
    return "" if target is None or not is_flagged(row) else str(target)


def _accuracy(row: Row) -> str:
    accuracy = row.get("clean_accuracy")
    return "" if accuracy is None else f"{accuracy:.1%}"


def _truth(row: Row) -> str:
    if row["label"] is None:
        return ""
    return str(row["label"]) + ("" if row["target"] is None else f" -> {row['target']}")

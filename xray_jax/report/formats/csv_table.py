"""CSV for spreadsheets: one line a checkpoint, a column a value, statistics as `detector.name`."""

import csv
import io
from typing import IO

from xray_jax.report.row_source import Rows
from xray_jax.report.row_values import COLUMNS, Value, statistics, values

_FORMULA = ("=", "+", "-", "@")
"""A text that begins so is computed by spreadsheets when they open the file."""


def write(rows: Rows, file: IO[bytes]) -> None:
    """Two passes: the statistics that any row has are the last columns of all."""
    found = sorted({f"{each.detector}.{each.name}" for row in rows for each in statistics(row)})
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    try:
        table = csv.writer(text)
        table.writerow([*COLUMNS, *map(_cell, found)])
        for row in rows:
            own = {f"{each.detector}.{each.name}": each.value for each in statistics(row)}
            table.writerow(map(_cell, [*values(row).values(), *map(own.get, found)]))
    finally:
        # The file is the caller's to close.
        text.detach()


def _cell(value: Value) -> Value:
    """A value as a spreadsheet takes it; text that it would compute begins with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

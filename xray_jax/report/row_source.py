"""Rows of files as a report reads them: checked, one of each checkpoint, and as often as they are asked for."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from xray_jax.report.sentences import sentence
from xray_jax.rows import file as row_file
from xray_jax.rows.file import ResultsError
from xray_jax.rows.row import ERROR, OK, SKIPPED, VERDICTS, Row

_STATUS = (OK, ERROR, SKIPPED)
_TEXTS = ("id", "path", "settings_hash", "device", "version")
_PRESENT = ("sha256", "format", "architecture", "reason", "verdict", "label", "target")
_MAPPINGS = ("detectors", "not_run", "manifest", "settings", "versions")


class Rows(Protocol):
    """Rows that can be gone through as often as needed, and may be read from disk each time: so nobody keeps them."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Row]: ...


class RowSource:
    """The newest row of each checkpoint in some row files; iterating reads the files again and holds one row at a time.

    Attributes:
      paths: the files, in the order in which they are read.
      superseded: rows that a newer one of the same checkpoint stands for.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Reads the files once.

        Raises:
          ResultsError: a file cannot be read, or a line of it is no row.
        """
        self.paths = tuple(paths)
        ids = [row["id"] for row in self._all()]
        self._kept = frozenset({name: number for number, name in enumerate(ids)}.values())
        self.superseded = len(ids) - len(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Row]:
        return (row for number, row in enumerate(self._all()) if number in self._kept)

    def _all(self) -> Iterator[Row]:
        for path in self.paths:
            for number, row in enumerate(row_file.read(path), 1):
                if wrong := defect(row):
                    raise ResultsError(f"{path}: row {number}: {wrong}; is this a row file?")
                yield row


def find(patterns: Sequence[str]) -> list[Path]:
    """Files that some paths or globs name, sorted.

    Raises:
      ResultsError: there is none.
    """
    paths = {
        Path(match) for pattern in patterns for match in ([pattern] if Path(pattern).exists() else glob.glob(pattern))
    }
    if not paths:
        raise ResultsError(f"{', '.join(patterns)}: no such row file")
    return sorted(paths)


def defect(row: Mapping[str, Any]) -> str | None:
    """What keeps a row from being reported: a field that is missing or of another type; None where nothing does."""
    for name in _TEXTS:
        if not isinstance(row.get(name), str):
            return f"`{name}` is no text"
    for name in _MAPPINGS:
        if not isinstance(row.get(name), dict):
            return f"`{name}` is no object"
    if missing := [name for name in _PRESENT if name not in row]:
        return f"`{missing[0]}` is missing"
    if row.get("status") not in _STATUS:
        return f"`status` is none of {', '.join(_STATUS)}"
    if row.get("verdict") not in (*VERDICTS, None):
        return f"`verdict` is none of {', '.join(VERDICTS)}"
    if not isinstance(row.get("notes"), list):
        return "`notes` is no list"
    for name, block in row["detectors"].items():
        listed = block.get("statistics", []) if isinstance(block, dict) else None
        if not isinstance(listed, list) or not all(map(_is_statistic, listed)):
            return f"the block of detector {name!r} has no list of statistics"
    try:
        sentence(cast(Row, row))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return f"nothing can be said of it ({type(error).__name__}: {error})"
    return None


def _is_statistic(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or "value" not in value:
        return False
    number = value.get("value")
    return number is None or (isinstance(number, int | float) and not isinstance(number, bool))

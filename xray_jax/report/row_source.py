"""Rows of files as a report reads them: checked, one of each checkpoint, and as often as they are asked for."""

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, Protocol, cast

from xray_jax.report.sentences import sentence
from xray_jax.rows import file as row_file
from xray_jax.rows.line import ResultsError, TornLineError
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
      files: the file of each row, in the order of the rows.
      superseded: rows that a newer one of the same checkpoint stands for.
      torn: what is to be said of last lines that were cut off, of a scan that is running, say; they are left out.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Reads the files once.

        Raises:
          ResultsError: a file cannot be read, or a line of it is no row.
        """
        self.paths = tuple(paths)
        self.torn: list[str] = []
        ids = [[row["id"] for row in checked(path, self.torn.append)] for path in self.paths]
        # A scan that goes on appends rows: later readings end where this one did.
        self._lengths = tuple(map(len, ids))
        self._kept = frozenset({name: number for number, name in enumerate(chain(*ids))}.values())
        places = chain(*map(repeat, self.paths, self._lengths))
        self.files = [path for number, path in enumerate(places) if number in self._kept]
        self.superseded = sum(self._lengths) - len(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Row]:
        read = zip(self.paths, self._lengths, strict=True)
        rows = chain.from_iterable(islice(checked(path, _nothing), length) for path, length in read)
        return (row for number, row in enumerate(rows) if number in self._kept)


def checked(path: Path, torn: Callable[[str], object]) -> Iterator[Row]:
    """Rows of a file, in order; a last line that is cut off is left out, and what is to be said of it goes to `torn`.

    Raises:
      ResultsError: the file cannot be read, or a line of it is no row.
    """
    try:
        for number, row in enumerate(row_file.read(path), 1):
            if wrong := defect(row):
                raise ResultsError(f"{path}: row {number}: {wrong}; is this a row file?")
            yield row
    except TornLineError as error:
        torn(f"{error}. It is left out")


def _nothing(_: str) -> None:
    """What is said once need not be said at every reading."""


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

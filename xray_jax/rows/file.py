"""Rows: one JSON line per checkpoint, appended whole, never edited. The one source of truth of a sweep."""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xray_jax.files import atomic_write
from xray_jax.rows.row import Row
from xray_jax.rows.upgrade import SchemaError, upgrade

_START = b'{"id":'
"""How every line begins; what else is found in a file is somebody's own."""
_IDENTITY = ("id", "sha256", "settings_hash", "version")


class ResultsError(OSError):
    """Rows cannot be read or written; the message names the file and says what to do."""


def canonical_json(value: Any) -> str:
    """One text for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def settings_hash(settings: Mapping[str, Any]) -> str:
    """First 16 hex digits of SHA-256 over the canonical JSON of everything that can change a row."""
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:16]


def json_form(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object as it is read back from a row: tuples are lists, keys are text."""
    form: dict[str, Any] = json.loads(json.dumps(value, default=_plain))
    return form


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes two rows the same scan: checkpoint, content, settings, tool version."""
    return tuple(row.get(name) for name in _IDENTITY)


def encode(row: Mapping[str, Any]) -> str:
    """One line of strict JSON, without its newline. Non-finite numbers become null: they are no JSON."""

    def finite(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: finite(item) for key, item in value.items()}
        if isinstance(value, list | tuple | np.ndarray):
            return [finite(item) for item in value]
        if isinstance(value, float | np.floating) and not np.isfinite(value):
            return None
        return value

    # Surrogates stand for undecodable bytes of file names; ASCII escapes carry them through any encoding.
    return json.dumps(finite({"id": row["id"], **row}), separators=(",", ":"), allow_nan=False, default=_plain)


class RowWriter:
    """Appends rows to a file, or streams them to stdout when the path is "-".

    Attributes:
      rows: all rows, read and written. done: the last row of each `identity`.

    A line is written with one call and rolled back when the disk is full, so that a killed or failed sweep leaves at
    most one torn last line, which the next start drops.
    """

    def __init__(self, path: str | Path) -> None:
        """Opens the file and drops a torn last line.

        Raises:
          ResultsError: the file cannot be opened, or holds something else than rows.
        """
        self.path = None if str(path) == "-" else Path(path)
        self.rows: list[Row] = []
        self.done: dict[tuple[Any, ...], Row] = {}
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise ResultsError(
                f"{self.path}: cannot write rows there: {error.strerror}; choose another --out"
            ) from error
        self._drop_torn_line()
        for row in read(self.path):
            self._keep(row)

    def _keep(self, row: Row) -> None:
        self.rows.append(row)
        self.done[identity(row)] = row

    def _drop_torn_line(self) -> None:
        size = os.fstat(self._file).st_size
        # A row is a few kilobytes; scanning back in blocks keeps a start cheap on files of any size.
        block, end = 1 << 16, size
        while end > 0:
            start = max(0, end - block)
            tail = os.pread(self._file, end - start, start)
            if (newline := tail.rfind(b"\n")) >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            torn = os.pread(self._file, len(_START), end)
            if not _START.startswith(torn):
                raise ResultsError(f"{self.path}: its last line is no JSON row; is this a row file?")
            os.ftruncate(self._file, end)

    def write(self, row: Row) -> None:
        """Appends one row.

        Raises:
          ResultsError: the disk is full or the file is gone; rows written before are intact.
        """
        line = encode(row) + "\n"
        if self.path is None:
            sys.stdout.write(line)
            sys.stdout.flush()
            self._keep(row)
            return
        data, size = line.encode(), os.fstat(self._file).st_size
        try:
            written = os.write(self._file, data)
            if written < len(data):
                # A short write is how a filling disk shows itself first; the rest then raises.
                while written < len(data):
                    written += os.write(self._file, data[written:])
        except OSError as error:
            os.ftruncate(self._file, size)
            raise ResultsError(
                f"{self.path}: cannot append a row: {error.strerror}; the {len(self.rows)} rows so far are intact. "
                "Make room and start the same command again"
            ) from error
        self._keep(row)

    def close(self) -> None:
        if self.path is not None:
            os.close(self._file)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_all(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows to a file, whole or not at all, or to stdout when the path is "-".

    Raises:
      ResultsError: the file cannot be written; one that was there is intact.
    """
    lines = (encode(row) + "\n" for row in rows)
    if str(path) == "-":
        sys.stdout.writelines(lines)
        return
    try:
        with atomic_write(path, "w", encoding="ascii") as file:
            file.writelines(lines)
    except OSError as error:
        raise ResultsError(f"{path}: cannot write rows there: {error.strerror}; choose another --out") from error


def read(path: str | Path) -> Iterator[Row]:
    """Rows of a file, in order.

    Raises:
      ResultsError: a line is no JSON object, or a row of a later schema; names the line.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise ResultsError(
                        f"{path}: line {number} is no JSON row ({error}); is this a row file?"
                    ) from error
                if not isinstance(row, dict) or "id" not in row:
                    raise ResultsError(f"{path}: line {number} is no row of this tool (it has no `id`)")
                try:
                    yield upgrade(row)
                except SchemaError as error:
                    raise ResultsError(f"{path}: line {number}: {error}") from error
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path}: not a text file of JSON rows ({error})") from error
    except FileNotFoundError as error:
        raise ResultsError(f"{path}: no such row file") from error

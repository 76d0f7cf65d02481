"""Rows: one JSON line per checkpoint, appended whole, never edited. The one source of truth of a sweep."""

import hashlib
import json
import os
import stat
import sys
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xray_jax.checkpoints.contents import PART
from xray_jax.files import atomic_write
from xray_jax.rows.line import START, parse
from xray_jax.rows.line import ResultsError as ResultsError
from xray_jax.rows.lock import lock, while_replaced
from xray_jax.rows.row import EarlierRow, Row
from xray_jax.rows.stored import StoredRows

_IDENTITY = ("id", "sha256", "settings_hash", "version")
_MOST_PARTS = 64
_BLOCK = 1 << 16
"""Bytes read at once where the length of a line is not known; a row is some kilobytes."""
_IN_MEMORY = 1 << 25
"""Bytes of rows that are printed, not filed, beyond which they wait for the summary in a temporary file."""


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

    def text(value: Mapping[str, Any]) -> str:
        # Surrogates stand for undecodable bytes of file names; ASCII escapes carry them through any encoding.
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain)

    first = {"id": row["id"], **row}
    try:
        # Nearly every row has finite numbers alone, and going through them by hand takes many times as long.
        return text(first)
    except (TypeError, ValueError):
        return text(finite(first))


class RowWriter:
    """Appends rows to a file, or streams them to stdout when the path is "-".

    Attributes:
      done: by `identity`, what is to be known of the row that counts of each (id, settings hash, version): its last. A
        content that was scanned before another one is not here: met again, it is scanned again, so that the last row is
        always of what was met last.

    No row is held: `rows` and `newest` read them again from the file, or from a temporary one where the path cannot be
    read. A line is written with one call and rolled back when the disk is full, so that a killed or failed sweep leaves
    at most one torn last line, which the next start drops.
    """

    def __init__(self, path: str | Path) -> None:
        """Opens the file, locks it until it is closed, and drops a torn last line.

        Raises:
          ResultsError: the file cannot be opened, another process writes to it, or it holds something else than rows.
        """
        self.path = None if str(path) == "-" else Path(path)
        self.done: dict[tuple[Any, ...], EarlierRow] = {}
        self._offsets = array("q")
        self._newest: dict[tuple[str, str, str], int] = {}
        self._counting: dict[tuple[str, str, str], tuple[Any, ...]] = {}
        self._parts: dict[tuple[str, str, str], tuple[str, ...]] = {}
        self._spool: tempfile.SpooledTemporaryFile[bytes] | None = None
        if self.path is None:
            self._spool = _spool()
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise ResultsError(
                f"{self.path}: cannot write rows there: {error.strerror}; choose another --out"
            ) from error
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            self._spool = _spool()
            return
        try:
            lock(self._file, self.path)
            self._drop_torn_line()
            for offset, row in located(self.path):
                self._keep(row, offset)
        except BaseException:
            os.close(self._file)
            raise

    @property
    def rows(self) -> StoredRows:
        """All rows, read and written, in their order; until the file is closed."""
        return StoredRows(self._offsets, self._row_at)

    def newest(self, keys: Iterable[tuple[str, str, str]]) -> StoredRows:
        """The last row of each (id, settings hash, version) that has one, in this order; until the file is closed."""
        return StoredRows(array("q", (self._newest[key] for key in keys if key in self._newest)), self._row_at)

    def parts(self, key: tuple[str, str, str]) -> tuple[str, ...]:
        """Names of the networks of which the last row of (id, settings hash, version) says that its file holds them."""
        return self._parts.get(key, ())

    def _keep(self, row: Row, offset: int) -> None:
        earlier = _earlier(row)
        key, own = (earlier["id"], earlier["settings_hash"], earlier["version"]), identity(earlier)
        self.done.pop(self._counting.get(key, own), None)
        self.done[own] = earlier
        self._newest[key], self._counting[key] = offset, own
        self._parts.pop(key, None)
        if parts := parts_of(row):
            self._parts[key] = parts
        self._offsets.append(offset)

    def _row_at(self, offset: int) -> Row:
        if self._spool is None:
            return row_at(self._file, offset, self.path)
        self._spool.seek(offset)
        return parse(self._spool.readline(), "a row kept for the summary")

    def _drop_torn_line(self) -> None:
        size = os.fstat(self._file).st_size
        # Scanning back in blocks keeps a start cheap on files of any size.
        end = size
        while end > 0:
            start = max(0, end - _BLOCK)
            tail = os.pread(self._file, end - start, start)
            if (newline := tail.rfind(b"\n")) >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            torn = os.pread(self._file, len(START), end)
            # Zeros behind rows are what a file system may leave of one where the machine stopped.
            if not START.startswith(torn) and (end == 0 or not self._is_zeros(end, size)):
                raise ResultsError(f"{self.path}: its last line is no JSON row; is this a row file?")
            os.ftruncate(self._file, end)

    def _is_zeros(self, start: int, end: int) -> bool:
        return not any(os.pread(self._file, _BLOCK, at).strip(b"\0") for at in range(start, end, _BLOCK))

    def write(self, row: Row) -> None:
        """Appends one row.

        Raises:
          ResultsError: the disk is full or the file is gone; rows written before are intact.
        """
        data = (encode(row) + "\n").encode()
        if self.path is None:
            sys.stdout.write(data.decode())
            sys.stdout.flush()
        else:
            self._append(data)
        # Where a line that is appended begins is known for certain only behind it: others may append too.
        end = os.lseek(self._file, 0, os.SEEK_CUR) if self._spool is None else _append_to(self._spool, data)
        self._keep(row, end - len(data))

    def _append(self, data: bytes) -> None:
        size = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, data)
            if written < len(data):
                # A short write is how a filling disk shows itself first; the rest then raises.
                while written < len(data):
                    written += os.write(self._file, data[written:])
        except OSError as error:
            os.ftruncate(self._file, size)
            raise ResultsError(
                f"{self.path}: cannot append a row: {error.strerror}; the {len(self._offsets)} rows so far are intact. "
                "Make room and start the same command again"
            ) from error

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()
        if self.path is not None:
            os.close(self._file)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _spool() -> "tempfile.SpooledTemporaryFile[bytes]":
    """For rows that cannot be read again where they were written: in memory until it is large, then on the disk."""
    return tempfile.SpooledTemporaryFile(_IN_MEMORY)


def _append_to(spool: "tempfile.SpooledTemporaryFile[bytes]", data: bytes) -> int:
    """Where what was appended ends."""
    try:
        offset = spool.seek(0, os.SEEK_END)
        spool.write(data)
        spool.flush()
    except OSError as error:
        raise ResultsError(
            f"{tempfile.gettempdir()}: cannot keep rows for the summary there: {error.strerror}; "
            "make room, or give --out=FILE"
        ) from error
    return offset + len(data)


def write_all(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows to a file, whole or not at all, or to stdout when the path is "-".

    Raises:
      ResultsError: the file cannot be written, or a scan writes to it; one that was there is intact.
    """
    lines = (encode(row) + "\n" for row in rows)
    if str(path) == "-":
        sys.stdout.writelines(lines)
        return
    try:
        with while_replaced(Path(path)), atomic_write(path, "w", encoding="ascii") as file:
            file.writelines(lines)
    except ResultsError:
        raise
    except OSError as error:
        raise ResultsError(f"{path}: cannot write rows there: {error.strerror}; choose another --out") from error


def read(path: str | Path) -> Iterator[Row]:
    """Rows of a file, in order.

    Raises:
      ResultsError: see `line.parse`; names the line.
    """
    return (row for _, row in located(path))


def located(path: str | Path) -> Iterator[tuple[int, Row]]:
    """Rows of a file, in order, each behind the offset in bytes at which its line begins, for `row_at`.

    Raises:
      ResultsError: see `read`.
    """
    offset = 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                yield offset, parse(line, f"{path}: line {number}", str(path))
                offset += len(line)
    except ResultsError:
        raise
    except FileNotFoundError as error:
        raise ResultsError(f"{path}: no such row file") from error
    except IsADirectoryError as error:
        raise ResultsError(f"{path}: a folder; give the row files in it, such as '{path}/*.jsonl'") from error
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}") from error


def row_at(file: int, offset: int, path: Path | None) -> Row:
    """The row whose line begins at an offset.

    Args:
      file: descriptor, open for reading; where it stands neither matters nor changes.
      offset: in bytes.
      path: of the file, for messages.

    Raises:
      ResultsError: there is no row.
    """
    line = b""
    while b"\n" not in line[-_BLOCK:]:
        block = os.pread(file, _BLOCK, offset + len(line))
        if not block:
            break
        line += block
    return parse(line.partition(b"\n")[0] + b"\n", f"{path}: what is at byte {offset} now")


def parts_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the networks that a file was found to hold, none where it holds one, or where they can be no names."""
    names = row.get("parts")
    if not isinstance(names, list) or len(names) > _MOST_PARTS or row.get("part") is not None:
        return ()
    return tuple(names) if all(isinstance(each, str) and PART.fullmatch(each) for each in names) else ()


def _earlier(row: Row) -> EarlierRow:
    """What a later run needs; texts that many rows have in common are held once."""
    earlier: EarlierRow = {
        "id": row["id"],
        "sha256": row.get("sha256"),
        "settings_hash": _shared(row["settings_hash"]),
        "version": _shared(row.get("version")),
        # Only where there is no content hash does a later run compare it; it may be long, and there may be many.
        "reason": None if row.get("sha256") else row.get("reason"),
    }
    if row.get("revision") is not None:
        earlier["source"], earlier["revision"] = row.get("source"), row["revision"]
        earlier["declared"] = row.get("declared")
    return earlier


def _shared(text: Any) -> Any:
    return sys.intern(text) if isinstance(text, str) else text

"""Row files of shards -> one row file: checked for common settings, missing shards and missing checkpoints."""

import itertools
import os
import re
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from xray_jax.rows import file as row_file
from xray_jax.rows.file import ResultsError, canonical_json, identity, parts_of
from xray_jax.rows.names import part_ids
from xray_jax.rows.row import OK, Row
from xray_jax.rows.stored import StoredRows

_SHARD = re.compile(r"(?P<stem>.*)-(?P<index>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.[^.]*)?")
PER_CHECKPOINT = ("architecture", "num_classes", "preprocess", "part")
"""Settings that may differ from row to row: a manifest overrides them for single checkpoints."""
_MOST_OPEN = 64


class MergeError(ValueError):
    """The row files do not belong together; the message names two of them and what differs."""


@dataclass(frozen=True)
class Merged:
    """Rows of all shards.

    Attributes:
      rows: one of each scan, sorted by id, or in the order of the ids that were expected; read again from the row files
        each time that they are gone through, so the files must stay.
      missing_shards: names of the row files that should be there. missing: ids without a row.
    """

    rows: StoredRows
    missing_shards: list[str]
    missing: list[str]

    @property
    def complete(self) -> bool:
        return not self.missing_shards and not self.missing


def merge(
    paths: Sequence[Path],
    expected: Sequence[str] | None = None,
    defect: Callable[[Row], str | None] | None = None,
) -> Merged:
    """Reads and joins row files; of several rows of one scan the last that is ok counts.

    One pass over the files, which keeps of each row who it is and where it lies.

    Args:
      paths: row files. Names like `rows-00003-of-00064.jsonl` tell how many there should be.
      expected: ids that must have a row; None where nobody knows.
      defect: says what is wrong with a row, if anything is; None takes every row.

    Raises:
      MergeError: settings or versions differ among rows that count, one id was met with two contents, scanned or not,
        or a shard was cut off.
      rows.file.ResultsError: a file cannot be read, or is no row file, or a row has a defect.
    """
    kept: dict[str, _Kept] = {}
    settings: dict[str, dict[str, Any]] = {}
    for number, path in enumerate(paths):
        _check_whole(path)
        # In one file the later row is the same shard's newer scan.
        own: dict[str, _Kept] = {}
        for count, (offset, row) in enumerate(row_file.located(path), 1):
            if defect is not None and (wrong := defect(row)):
                raise ResultsError(f"{path}: row {count}: {wrong}; is this a row file?")
            common = _common(row)
            made = settings.setdefault(canonical_json(common), common)
            own[row["id"]] = _Kept(identity(row), row["status"] == OK, number, offset, made, parts_of(row))
        for found in own.values():
            _keep(kept, found, paths)
    _check_common(kept.values(), paths)
    order = sorted(kept) if expected is None else [name for name in expected if name in kept]
    # Rows of checkpoints that have left the manifest since stay, at the end: rows are never thrown away.
    order += sorted(kept.keys() - set(order))
    missing = [] if expected is None else [name for name in expected if name not in kept]
    missing += _missing_parts(kept, expected or ())
    rows = StoredRows([kept[name] for name in order], _Files(paths).row)
    return Merged(rows, missing_shards(paths), missing)


class _Kept(NamedTuple):
    """A row that counts so far: who it is, the number of its file and the offset of its line in that, its settings."""

    identity: tuple[Any, ...]
    ok: bool
    file: int
    offset: int
    settings: Mapping[str, Any]
    parts: tuple[str, ...] = ()


def _missing_parts(kept: Mapping[str, _Kept], expected: Sequence[str]) -> list[str]:
    """Networks without a row, of files that hold several."""
    taken, order = {*expected}, [name for name in expected if name in kept] or sorted(kept)
    ids = [each for name in order for each in part_ids(name, kept[name].parts, taken).values()]
    return [each for each in ids if each not in kept]


class _Files:
    """Row files that are read in any order; no more than `_MOST_OPEN` are open at once."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._open: OrderedDict[int, int] = OrderedDict()
        weakref.finalize(self, _close_all, self._open)

    def row(self, place: _Kept) -> Row:
        path = self._paths[place.file]
        row = row_file.row_at(self._file(place.file), place.offset, path)
        if identity(row) != place.identity:
            raise ResultsError(f"{path}: changed while it was merged; merge again")
        return row

    def _file(self, number: int) -> int:
        if number not in self._open:
            while len(self._open) >= _MOST_OPEN:
                os.close(self._open.popitem(last=False)[1])
            try:
                self._open[number] = os.open(self._paths[number], os.O_RDONLY)
            except OSError as error:
                raise ResultsError(f"{self._paths[number]}: cannot be read: {error.strerror}") from error
        self._open.move_to_end(number)
        return self._open[number]


def _close_all(files: Mapping[int, int]) -> None:
    for file in files.values():
        os.close(file)


def missing_shards(paths: Iterable[Path]) -> list[str]:
    """Names of the row files that the others' names say should be there.

    Raises:
      MergeError: the files are shards of different splits.
    """
    shards = [match for path in paths if (match := _SHARD.fullmatch(path.name))]
    splits = {(match["stem"], match["count"], match["suffix"] or "") for match in shards}
    if len(splits) > 1:
        raise MergeError(
            f"row files of different splits: {sorted(match.string for match in shards)}; merge one at a time"
        )
    there = {int(match["index"]) for match in shards}
    return [
        f"{stem}-{index:05d}-of-{count}{suffix}"
        for stem, count, suffix in splits
        for index in range(int(count))
        if index not in there
    ]


def _check_whole(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 1))
            last = file.read()
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}") from error
    if last not in (b"", b"\n"):
        raise MergeError(f"{path}: ends in a torn line: this shard was cut off; start it again, it will go on")


def _common(row: Row) -> dict[str, Any]:
    settings = {name: value for name, value in row.get("settings", {}).items() if name not in PER_CHECKPOINT}
    return {**settings, "tool version": row.get("version")}


def _check_common(kept: Iterable[_Kept], paths: Sequence[Path]) -> None:
    """Rows that a later one of the same file replaces may be of other settings: a shard was scanned again."""
    ways: dict[int, _Kept] = {}
    for each in kept:
        ways.setdefault(id(each.settings), each)
    for first, other in itertools.pairwise(ways.values()):
        values = "; ".join(_differing(first.settings, other.settings))
        here, there = paths[first.file], paths[other.file]
        if here == there:
            raise MergeError(
                f"{here} has checkpoints that were scanned with other settings than the rest ({values}); scan all of "
                "them with the same ones"
            )
        raise MergeError(f"{here} and {there} were made with other settings ({values}); scan one of them again")


def _differing(left: Any, right: Any, name: str = "") -> Iterator[str]:
    """`name: left / right` of every value that differs, settings within settings by their dotted names."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in sorted({*left, *right}):
            if left.get(key) != right.get(key):
                yield from _differing(left.get(key), right.get(key), f"{name}.{key}" if name else key)
    else:
        yield f"{name}: {_short(left)} / {_short(right)}"


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keep(kept: dict[str, _Kept], found: _Kept, paths: Sequence[Path]) -> None:
    """Keeps one of two files' rows of one checkpoint: which of them is newer nobody knows."""
    name = found.identity[0]
    earlier = kept.get(name)
    if earlier is not None and _of_two_scans(earlier, found):
        _check_common([earlier, found], paths)
        raise MergeError(
            f"{name}: scanned with two contents or overrides, in {paths[earlier.file]} and {paths[found.file]}; "
            "remove the outdated row file and scan that shard again"
        )
    # What could be scanned counts for more than what could not, of the same content or of none that is known.
    if earlier is None or found.ok or not earlier.ok:
        kept[name] = found


def _of_two_scans(one: _Kept, other: _Kept) -> bool:
    """Whether neither row can stand for the other: of two contents, whatever came of them, or of two ways to scan."""
    contents = {one.identity[1], other.identity[1]} - {None}
    return len(contents) > 1 or (one.ok and other.ok and one.identity != other.identity)

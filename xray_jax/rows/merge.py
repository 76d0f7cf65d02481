"""Row files of shards -> one row file: checked for common settings, missing shards and missing checkpoints."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_jax.rows import file as row_file
from xray_jax.rows.file import ResultsError, canonical_json, identity
from xray_jax.rows.row import OK, Row

_SHARD = re.compile(r"(?P<stem>.*)-(?P<index>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.[^.]*)?")
PER_CHECKPOINT = ("architecture", "num_classes", "preprocess")
"""Settings that may differ from row to row: a manifest overrides them for single checkpoints."""


class MergeError(ValueError):
    """The row files do not belong together; the message names two of them and what differs."""


@dataclass(frozen=True)
class Merged:
    """Rows of all shards.

    Attributes:
      rows: one of each scan, sorted by id, or in the order of the ids that were expected.
      missing_shards: names of the row files that should be there. missing: ids without a row.
    """

    rows: list[Row]
    missing_shards: list[str]
    missing: list[str]

    @property
    def complete(self) -> bool:
        return not self.missing_shards and not self.missing


def merge(paths: Sequence[Path], expected: Sequence[str] | None = None) -> Merged:
    """Reads and joins row files; of several rows of one scan the last that is ok counts.

    Args:
      paths: row files. Names like `rows-00003-of-00064.jsonl` tell how many there should be.
      expected: ids that must have a row; None where nobody knows.

    Raises:
      MergeError: settings or versions differ, one id was scanned with two contents, or a shard was cut off.
      rows.file.ResultsError: a file cannot be read, or is no row file.
    """
    kept: dict[str, tuple[Row, Path]] = {}
    common: tuple[dict[str, Any], Path] | None = None
    for path in paths:
        _check_whole(path)
        for row in row_file.read(path):
            mine = _common(row)
            if common is None:
                common = mine, path
            elif mine != common[0]:
                raise MergeError(_difference(common, (mine, path)))
            _keep(kept, row, path)
    rows = {name: row for name, (row, _) in kept.items()}
    order = sorted(rows) if expected is None else [name for name in expected if name in rows]
    # Rows of checkpoints that have left the manifest since stay, at the end: rows are never thrown away.
    order += sorted(set(rows) - set(order))
    missing = [] if expected is None else [name for name in expected if name not in rows]
    return Merged([rows[name] for name in order], missing_shards(paths), missing)


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


def _difference(one: tuple[Mapping[str, Any], Path], other: tuple[Mapping[str, Any], Path]) -> str:
    (left, left_path), (right, right_path) = one, other
    values = "; ".join(_differing(left, right))
    return f"{left_path} and {right_path} were made with other settings ({values}); scan one of them again"


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


def _keep(kept: dict[str, tuple[Row, Path]], row: Row, path: Path) -> None:
    before = kept.get(row["id"])
    if before is None:
        kept[row["id"]] = row, path
        return
    earlier, earlier_path = before
    # In one file the later row is the same shard's newer scan; between files nobody knows which is newer.
    if path != earlier_path and identity(earlier) != identity(row) and OK == earlier["status"] == row["status"]:
        raise MergeError(
            f"{row['id']}: scanned with two contents or overrides, in {earlier_path} and {path}; "
            "remove the outdated row file and scan that shard again"
        )
    if row["status"] == OK or earlier["status"] != OK:
        kept[row["id"]] = row, path

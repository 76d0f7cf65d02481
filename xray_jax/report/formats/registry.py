"""The formats by name: those of this package, and those that other packages add through entry points."""

import importlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import IO, Protocol, cast

from xray_jax.files import atomic_write
from xray_jax.report.extra import needed
from xray_jax.report.row_source import Rows
from xray_jax.rows.file import ResultsError

GROUP = "xray_jax.report_formats"
"""Entry points of this group are `Format`s: modules or objects."""

BUILT_IN: Mapping[str, str] = {
    "csv": "csv_table",
    "cyclonedx": "cyclonedx_bom",
    "junit": "junit",
    "markdown": "markdown",
    "parquet": "parquet",
    "sarif": "sarif",
}
"""Name -> module of this folder; imported when asked for, because some need libraries of an extra."""


class FormatError(ValueError):
    """A format cannot be had; the message names it and says what to do."""


class Format(Protocol):
    """How rows become one file of another tool."""

    def write(self, rows: Rows, file: IO[bytes]) -> None:
        """Writes all rows.

        Args:
          rows: checked by `row_source.defect`.
          file: open for writing; a pipe too, so without seeking.
        """
        ...


def names() -> list[str]:
    """Every format that can be named."""
    return sorted({*BUILT_IN, *(point.name for point in metadata.entry_points(group=GROUP))})


def get(name: str, *others: str) -> Format:
    """The format of a name; one of this package is never taken over by a plug-in.

    Args:
      name: of the format.
      others: what the caller writes itself, for the message that lists what is known.

    Raises:
      FormatError: there is none, or it cannot be used.
      ExtraError: it needs a library that is not installed.
    """
    if name in BUILT_IN:
        with needed(f"--format={name}"):
            return cast(Format, importlib.import_module(f"xray_jax.report.formats.{BUILT_IN[name]}"))
    points = [point for point in metadata.entry_points(group=GROUP) if point.name == name]
    if not points:
        raise FormatError(f"--format={name}: no such format; known: {', '.join(sorted([*names(), *others]))}")
    try:
        made = points[0].load()
        if not callable(getattr(made, "write", None)):
            raise TypeError("it has no `write`")
    except (Exception, SystemExit) as error:
        raise FormatError(
            f"--format={name}: {points[0].value} cannot be used ({type(error).__name__}: {error}); "
            "mend or remove that package"
        ) from error
    return cast(Format, made)


def write(name: str, rows: Rows, out: Path | IO[bytes]) -> None:
    """Writes rows in a named format, a file whole or not at all.

    Raises:
      FormatError, ExtraError: see `get`.
      ResultsError: the file cannot be written.
    """
    chosen = get(name)
    if not isinstance(out, Path):
        chosen.write(rows, out)
        return
    try:
        with atomic_write(out) as file:
            chosen.write(rows, file)
    except ResultsError:
        raise
    except OSError as error:
        raise ResultsError(f"{out}: cannot be written: {error.strerror}; choose another --out") from error

"""Rows to a folder of pages: index.html, a page a model, a page for each kind of settings."""

from collections.abc import Iterable
from itertools import repeat
from pathlib import Path

from xray_jax.report.html import model_page, pages, pictures
from xray_jax.report.html.compare import Comparison, Earlier
from xray_jax.report.html.overview import Overview
from xray_jax.report.html.pictures import PictureSource
from xray_jax.report.row_source import Rows, RowSource
from xray_jax.rows.file import ResultsError

INDEX, MODELS, SETTINGS = "index.html", "models", "settings"


def build(
    rows: Rows,
    out: Path,
    files: Iterable[Path] = (),
    source: PictureSource | None = None,
    earlier: Earlier | None = None,
) -> Path:
    """Writes the report of some rows, in two passes; no more than one row is held.

    Args:
      rows: checked by `row_source.defect`.
      out: folder, made where there is none. Files of an earlier report there are written over.
      files: where the rows are kept, for the commands that repeat a scan; a `RowSource` knows better.
      source: where pictures and label maps are, if anywhere.
      earlier: a run to compare with.

    Returns:
      The overview's file.

    Raises:
      ExtraError: the templates' library is not installed.
      ResultsError: something cannot be written.
    """
    pages.check()
    try:
        return _build(rows, out, tuple(files), source or PictureSource(), earlier)
    except ResultsError:
        raise
    except OSError as error:
        raise ResultsError(
            f"{error.filename or out}: cannot be written: {error.strerror}; choose another --out"
        ) from error


def _build(rows: Rows, out: Path, files: tuple[Path, ...], source: PictureSource, earlier: Earlier | None) -> Path:
    for folder in (MODELS, SETTINGS, pictures.FOLDER):
        (out / folder).mkdir(parents=True, exist_ok=True)
    overview = Overview(comparison=None if earlier is None else Comparison(earlier.name))
    named: dict[str, str] = {}
    for row in rows:
        change = None if earlier is None else earlier.compare(row)
        overview.add(row, f"{MODELS}/{pages.page_name(row['id'])}.html", change)
        if row["settings_hash"] not in named:
            named[row["settings_hash"]] = _settings_page(out, row["settings_hash"], row["settings"])
    overview.sort()
    if overview.comparison is not None and earlier is not None:
        overview.comparison.gone = earlier.missing
    kept = rows.files if isinstance(rows, RowSource) else repeat(next(iter(files), None))
    for row, file in zip(rows, kept, strict=False):
        name = pages.page_name(row["id"])
        drawn = source.take(row["id"], name, out / pictures.FOLDER)
        change = None if earlier is None else earlier.compare(row)
        shown = model_page.context(row, overview.strips, drawn, file, change)
        settings = f"../{named[row['settings_hash']]}"
        pages.write(out / MODELS / f"{name}.html", "model.html", **shown, settings=settings)
    settings_pages = [(named[key], count) for key, count in overview.settings.most_common()]
    pages.write(out / INDEX, "overview.html", overview=overview, table=overview.table(), settings=settings_pages)
    return out / INDEX


def _settings_page(out: Path, settings_hash: str, settings: dict[str, object]) -> str:
    """Writes the page of some settings; returns where it is in the report."""
    where = f"{SETTINGS}/{pages.page_name(settings_hash)}.html"
    pages.write(out / where, "settings.html", settings=model_page.dumped(settings))
    return where

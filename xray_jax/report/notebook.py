"""Rows as a notebook or an interpreter shows them: a table with the verdicts, and a data frame for everything else."""

import html
import importlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from xray_jax.report import row_source
from xray_jax.report.row_values import number, statistics, values
from xray_jax.report.sentences import explanation, outcome
from xray_jax.report.terminal_text import cut_end, cut_middle, printable
from xray_jax.report.verdict_table import VerdictTable
from xray_jax.rows.file import ResultsError
from xray_jax.rows.row import Row
from xray_jax.sweep.batch_scan import Finished

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SHOWN = 100
_WIDTH, _LONGEST_NAME, _LONGEST = 120, 60, 300


class Results(Sequence[Row]):
    """Rows of a batch scan, held in memory; the last expression of a notebook's cell shows them as a table.

    Attributes:
      rows: as they were given.
    """

    def __init__(self, rows: Iterable[Row | Finished]) -> None:
        """Checks the rows, which may come right from `BatchScan.run`.

        Raises:
          ResultsError: one of them is none.
        """
        self.rows = [row.row if isinstance(row, Finished) else row for row in rows]
        for count, row in enumerate(self.rows, 1):
            if wrong := row_source.defect(row):
                raise ResultsError(f"row {count}: {wrong}")

    @classmethod
    def read(cls, *paths: str | Path) -> "Results":
        """The newest row of each checkpoint in some row files (paths or globs).

        Raises:
          ResultsError: a file cannot be read, or is no row file.

        Warns of a last line that is cut off, which is left out.
        """
        source = row_source.RowSource(row_source.find([str(path) for path in paths]))
        for said in source.torn:
            warnings.warn(said, stacklevel=2)
        return cls(source)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> "Results": ...

    def __getitem__(self, index: int | slice) -> "Row | Results":
        return Results(self.rows[index]) if isinstance(index, slice) else self.rows[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __repr__(self) -> str:
        lines = [line.plain for line in VerdictTable(self.rows[:MOST_SHOWN], _WIDTH).lines()]
        return "\n".join([*lines, *self._rest()])

    def _repr_html_(self) -> str:
        """The table as HTML, all of it text."""
        heads = "".join(f"<th>{name}</th>" for name in ("checkpoint", "verdict", "clean accuracy", "what was found"))
        lines = "".join(f"<tr>{''.join(_cells(row))}</tr>" for row in self.rows[:MOST_SHOWN])
        rest = "".join(f"<p>{line}</p>" for line in self._rest())
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>{rest}"

    def _rest(self) -> list[str]:
        left = len(self.rows) - MOST_SHOWN
        return [f"... and {left} more"] if left > 0 else []

    def plot(self, references: Iterable[Row] = ()) -> "Figure":
        """RE and ATS of all models, the region of the clean ones shaded.

        Args:
          references: rows of clean models of the same task; by default those of these rows that are known to be clean.
        """
        from xray_jax.report.zoo_figure import scatter_figure

        return scatter_figure(self.rows, references)

    def table(self) -> list[dict[str, Any]]:
        """A flat record a row: `row_values.COLUMNS`, and each statistic as `detector.name`."""
        return [{**values(row), **{f"{s.detector}.{s.name}": s.value for s in statistics(row)}} for row in self.rows]

    def to_pandas(self) -> Any:
        """`table` as a data frame; pandas must be installed.

        Raises:
          ModuleNotFoundError: it is not.
        """
        return importlib.import_module("pandas").DataFrame(self.table())


def _cells(row: Row) -> Iterator[str]:
    accuracy = number(row.get("clean_accuracy"))
    shown = "" if accuracy is None else f"{accuracy:.1%}"
    said = cut_end(printable(explanation(row)), _LONGEST)
    for text in (cut_middle(printable(row["id"]), _LONGEST_NAME), outcome(row), shown, said):
        yield f'<td style="text-align: left">{html.escape(text)}</td>'

"""Parquet for data frames: one record a checkpoint, its statistics as a nested list; written in batches."""

from typing import IO, Any

import pyarrow as pa
from pyarrow import parquet

from xray_jax.report.row_source import Rows
from xray_jax.report.row_values import COLUMNS, statistics, values
from xray_jax.rows.row import Row

_BATCH = 1000
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64()}
_STATISTIC = pa.struct(
    [("detector", pa.string()), ("name", pa.string()), ("value", pa.float64()), ("suspect", pa.string())]
)
SCHEMA = pa.schema(
    [*((name, _TYPES[kind]) for name, (kind, _) in COLUMNS.items()), ("statistics", pa.list_(_STATISTIC))]
)


def write(rows: Rows, file: IO[bytes]) -> None:
    """One pass; no more than a batch of rows is held."""
    with parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        held: list[dict[str, Any]] = []
        for row in rows:
            held.append(_record(row))
            if len(held) == _BATCH:
                writer.write_batch(pa.RecordBatch.from_pylist(held, schema=SCHEMA))
                held.clear()
        writer.write_batch(pa.RecordBatch.from_pylist(held, schema=SCHEMA))


def _record(row: Row) -> dict[str, Any]:
    named = [
        {"detector": each.detector, "name": each.name, "value": each.value, "suspect": each.suspect}
        for each in statistics(row)
    ]
    return {**values(row), "statistics": named}

"""Rows of queries cut into the buffers of a program, and what comes back put together again."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from xray_jax.inference.options import ResolvedOptions

# Held while a program is built or called: two threads that call it for the first time would both trace it. Calls only
# dispatch, so nobody waits for another's results.
_dispatching = threading.RLock()


@dataclass(frozen=True)
class Pending:
    """Results on their way from the devices, in order; `result` waits for them.

    Attributes:
      parts: for each call its result `[devices, capacity, ...]`, the rows a device got and the rows in all.
      empty: what no query at all gives, `[0, ...]`.
    """

    parts: tuple[tuple[jax.Array | np.ndarray, int, int], ...]
    empty: np.ndarray

    def result(self) -> np.ndarray:
        """`[Q, ...]`, one entry a query."""
        # `device_get` is an explicit transfer, so it passes a transfer guard.
        found = []
        for part, width, count in self.parts:
            rows = jax.device_get(part)[:, :width]
            found.append(rows.reshape(-1, *rows.shape[2:])[:count])
        return np.concatenate(found) if found else self.empty


def dispatch(
    build: Callable[[], Any],
    head: tuple[Any, ...],
    rows: tuple[np.ndarray, ...],
    options: ResolvedOptions,
    empty: np.ndarray,
) -> Pending:
    """Splits `rows` over calls and devices and runs `program(*head, batches, *buffers)` on each part.

    Args:
      build: gives the program, the same object each time (a cached builder with its arguments bound).
      head: what goes to every device whole.
      rows: what is split, `[Q, ...]` each.
      options: of the program.
      empty: what no query at all gives.
    """
    devices, capacity, batch = len(options.devices), options.capacity, options.batch_size
    parts = []
    for start in range(0, len(rows[0]), devices * capacity):
        count = min(devices * capacity, len(rows[0]) - start)
        width = -(-count // devices)
        buffers = []
        for row in rows:
            # Rows past the end repeat zeros: valid inputs whose results nobody reads.
            buffer = np.zeros((devices * width, *row.shape[1:]), row.dtype)
            buffer[:count] = row[start : start + count]
            padding = [(0, 0), (0, capacity - width)] + [(0, 0)] * (row.ndim - 1)
            buffers.append(np.pad(buffer.reshape(devices, width, *row.shape[1:]), padding))
        batches = jax.device_put(np.int32(-(-width // batch)), options.sharding())
        placed = jax.device_put(buffers, options.sharding("devices"))
        with _dispatching:
            parts.append((build()(*head, batches, *placed), width, count))
    return Pending(tuple(parts), empty)


def grouped(group: np.ndarray, batch: int, devices: int) -> np.ndarray:
    """Query numbers in an order in which no batch holds queries of two groups: int64, -1 where a batch is filled up.

    Args:
      group: integers `[Q]`.
      batch: queries of a batch.
      devices: the whole is filled up to as many batches on each.
    """
    parts = []
    for value in np.unique(group):
        rows = np.flatnonzero(group == value)
        parts += [rows, np.full(-len(rows) % batch, -1)]
    rows = np.concatenate(parts or [np.empty(0, np.int64)])
    return np.concatenate([rows, np.full(-len(rows) % (batch * devices), -1)])

"""Work in stages, each in its own threads, so that one item is loaded while another is scanned."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def chain(stages: Sequence[tuple[ThreadPoolExecutor, Callable[[Any], Any]]], first: Any) -> "Future[Any]":
    """Sends one item through the stages, each in its own pool; what the last one returns."""
    (pool, work), *rest = stages
    future: Future[Any] = pool.submit(work, first)
    for pool, work in rest:
        # Stages only ever wait for earlier ones, so the pools cannot lock each other.
        future = pool.submit(lambda work, before: work(before.result()), work, future)
    return future

"""Rows that stay on the disk: where each of them lies is kept, one at a time is read."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, overload

from xray_jax.rows.row import Row

Place = TypeVar("Place")


class StoredRows(Sequence[Row]):
    """Rows as a sequence that can be gone through as often as needed; whoever keeps none of them holds one at a time.

    Equal to any sequence of the same rows in the same order.
    """

    def __init__(self, places: Sequence[Place], read: Callable[[Place], Row]) -> None:
        """
        Args:
          places: where each row lies.
          read: the row of a place.
        """
        self._places, self._read = places, read

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> "StoredRows": ...

    def __getitem__(self, index: int | slice) -> "Row | StoredRows":
        if isinstance(index, slice):
            return StoredRows(self._places[index], self._read)
        return self._read(self._places[index])

    def __iter__(self) -> Iterator[Row]:
        return map(self._read, self._places)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

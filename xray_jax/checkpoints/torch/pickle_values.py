"""What pickles are read to: numbers, strings, lists, tuples, and these stand-ins. None of them does anything."""

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Name:
    """A global that a stream refers to: only its name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Blob:
    """A long string that was left where it is: `length` bytes at `offset` of the pickle's file, UTF-8 when `text`."""

    offset: int
    length: int
    text: bool


@dataclass(frozen=True, slots=True)
class Persistent:
    """A reference to something outside the pickle: in torch's files a storage."""

    id: Any


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """A call that a stream asks for, with what it does to the result. It is never made.

    Attributes:
      function: whatever should be called. arguments: its arguments as read.
      state: what BUILD would set. pairs: items that SETITEM(S) would set. What APPEND(S) adds is dropped.
    """

    function: Any
    arguments: Any
    state: Any = None
    pairs: list[tuple[Any, Any]] | tuple[()] = ()


@dataclass(slots=True, eq=False, repr=False)
class Dict:
    """A dictionary as the pairs that were set, in order, unhashed."""

    pairs: list[tuple[Any, Any]] | tuple[()] = ()


class Pickle(NamedTuple):
    """One pickle: its value, where it ends, and all that it refers to outside of itself."""

    value: Any
    end: int
    names: set[Name]
    references: list[Persistent]

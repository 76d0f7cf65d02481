"""Pickle values: what a pickle is read to, numbers, strings, lists, tuples, and these stand-ins that do nothing."""

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Name:
    """A global that a stream refers to: only its name.

    Attributes:
      module: dotted path of its module.
      name: its name there.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Blob:
    """A long string that was left where it is.

    Attributes:
      offset: first byte in the pickle's file.
      length: in bytes.
      text: whether they are UTF-8.
    """

    offset: int
    length: int
    text: bool


@dataclass(frozen=True, slots=True)
class Persistent:
    """A reference to something outside the pickle: in torch's files a storage.

    Attributes:
      id: what the pickle says to find it by.
    """

    id: Any


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """A call that a stream asks for, with what it does to the result. It is never made.

    Attributes:
      function: whatever should be called.
      arguments: its arguments as read.
      state: what BUILD would set.
      pairs: items that SETITEM(S) would set, and those that a dictionary is called on. What APPEND(S) adds is dropped.
    """

    function: Any
    arguments: Any
    state: Any = None
    pairs: list[tuple[Any, Any]] | tuple[()] = ()

    def calls(self, *names: Name) -> bool:
        """Whether it is a call of one of these globals; what else is called is never looked into."""
        return isinstance(self.function, Name) and self.function in names


@dataclass(slots=True, eq=False, repr=False)
class Dict:
    """A dictionary, its keys unhashed.

    Attributes:
      pairs: (key, value) as they were set, in order.
    """

    pairs: list[tuple[Any, Any]] | tuple[()] = ()


def brief(value: Any) -> str:
    """A value for people, short whatever it is: a list that holds itself ten times over has a long `str`."""
    if value is None or isinstance(value, bool | int | float | str | bytes | Name):
        return str(value)[:80]
    return f"a {type(value).__name__.lower()}"


class Pickle(NamedTuple):
    """One pickle.

    Attributes:
      value: what it holds, of these kinds.
      end: byte behind it in the file.
      names: globals that it refers to.
      references: what it refers to outside of itself.
    """

    value: Any
    end: int
    names: set[Name]
    references: list[Persistent]

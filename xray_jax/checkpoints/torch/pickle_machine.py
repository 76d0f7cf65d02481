"""The stack machine on which pickles run: it moves pickle values, counts their memory, and checks every length."""

import struct
from typing import Any, BinaryIO

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.torch.pickle_values import Blob, Call, Name, Persistent

OBJECT_BYTES = 176 << 20
"""What the objects of one pickle may take together: a list or stand-in outgrows its one-byte opcode a hundredfold."""

KEPT_BYTES = 1024
"""Strings above this stay in the file, as a `Blob`: images and whole arrays are rarely wanted."""

# Upper bounds in bytes of what CPython allocates, checked by a test with tracemalloc.
OBJECT, SLOT, CONTAINER, MEMO = 64, 8, 128, 112

DICTIONARIES = (Name("collections", "OrderedDict"), Name("collections", "defaultdict"))
"""What makes dictionaries, beside an opcode."""

MARK = object()


class Machine:
    """The state of one pickle's interpretation.

    Attributes:
      file: the file that holds the pickle.
      position: byte at which it is read next.
      limit: byte before which it must end.
      left: bytes that its objects may still take.
      stack: values and marks, the last one on top.
      memo: index -> remembered value.
      names: globals that it referred to so far.
      references: what it referred to outside of itself so far.
    """

    def __init__(self, file: BinaryIO, start: int, limit: int) -> None:
        self.file = file
        self.position = start
        self.limit = limit
        self.left = OBJECT_BYTES
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.names: set[Name] = set()
        self.references: list[Persistent] = []

    def take(self, length: int) -> bytes:
        """The next `length` bytes; raises `CheckpointError` when the pickle has fewer."""
        if length < 0 or self.position + length > self.limit:
            raise CheckpointError(f"its pickle ends at byte {self.limit} inside a value: truncated")
        data = self.file.read(length)
        if len(data) != length:
            raise CheckpointError("the file became shorter while it was read")
        self.position += length
        return data

    def line(self) -> bytes:
        """The next bytes up to a line's end, without it."""
        # Protocol 0 writes whole arrays as lines.
        data = self.file.readline(min(self.limit - self.position, max(self.left // 4, 0)))
        self.spend(4 * len(data))
        if not data.endswith(b"\n"):
            raise CheckpointError(f"a line of its pickle at byte {self.position} has no end: damaged")
        self.position += len(data)
        return data[:-1]

    def number(self, layout: str) -> int:
        """The next number, in a layout of `struct`."""
        (value,) = struct.unpack(layout, self.take(struct.calcsize(layout)))
        return value

    def spend(self, cost: int) -> None:
        """Counts bytes that something takes, before it does.

        Raises:
          CheckpointError: when all together take more than they may.
        """
        self.left -= cost
        if self.left < 0:
            raise CheckpointError(f"the objects of its pickle take more than {OBJECT_BYTES} bytes: refused")

    def push(self, value: Any, cost: int = OBJECT) -> None:
        """Puts a value on the stack; `cost`: bytes that it takes."""
        self.spend(cost)
        self.stack.append(value)

    def push_bytes(self, length: int, text: bool | None) -> None:
        """Puts the next `length` bytes on the stack, as text, as bytes, or (None) as text where they are UTF-8."""
        if length > KEPT_BYTES:
            if self.position + length > self.limit:
                raise CheckpointError(f"its pickle ends at byte {self.limit} inside a string: truncated")
            self.push(Blob(self.position, length, bool(text)), CONTAINER)
            self.position += length
            self.file.seek(self.position)
            return
        data = self.take(length)
        # "surrogatepass" is what pickle itself writes and reads.
        value = data.decode("utf-8", "surrogatepass") if text else data if text is False else text_if_possible(data)
        self.push(value, OBJECT + 4 * length)

    def pop_mark(self) -> list[Any]:
        """Takes the values above the last mark, and the mark, off the stack."""
        where = len(self.stack) - 1
        while self.stack[where] is not MARK:
            where -= 1
            if where < 0:
                raise CheckpointError("its pickle closes a mark that it never set: damaged")
        values = self.stack[where + 1 :]
        del self.stack[where:]
        return values

    def remember(self, index: int) -> None:
        """Puts the value on top of the stack into the memo."""
        # A dictionary, so an index of two billion costs no more than any other.
        self.spend(MEMO)
        self.memo[index] = self.stack[-1]

    def call(self, function: Any, arguments: Any) -> None:
        """Puts a call on the stack that is never made."""
        made = Call(function, arguments)
        self.push(made, CONTAINER)
        if made.calls(*DICTIONARIES) and isinstance(arguments, tuple) and arguments and isinstance(arguments[0], list):
            # Python 2 gave the items as an argument.
            items = [item for item in arguments[0] if isinstance(item, list | tuple) and len(item) == 2]
            self.set_items([value for item in items for value in item])

    def append(self, values: list[Any]) -> None:
        """Extends the list on top of the stack; of other objects the values are dropped."""
        target = self.stack[-1]
        if isinstance(target, list):
            self.spend(2 * SLOT * len(values))
            target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Sets items, as keys and values in turn, of the object on top of the stack."""
        if len(values) % 2:
            raise CheckpointError("its pickle sets an item without a value: damaged")
        self.spend(CONTAINER + OBJECT * len(values))
        target = self.stack[-1]
        target.pairs = target.pairs or []
        target.pairs.extend(zip(values[::2], values[1::2], strict=True))


def text_if_possible(data: bytes) -> str | bytes:
    """What Python 2 called a string: text in a state dict's keys, bytes in an array's data."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data

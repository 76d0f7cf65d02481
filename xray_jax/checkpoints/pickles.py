"""Pickles read to inert values. Nothing is imported, nothing is called, whatever the stream says.

An interpreter of all opcodes of protocols 0 to 5 whose results are numbers, strings, lists, tuples and the four kinds
of stand-in below. `pickle.Unpickler` with overridden hooks would not do: its memo grows to any index a stream names,
its containers hash hostile keys, and BUILD writes into objects.
"""

import codecs
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from xray_jax.checkpoints.contents import CheckpointError

OBJECT_BYTES = 176 << 20
"""What the objects of one pickle may take together: a list or stand-in outgrows its one-byte opcode a hundredfold."""

KEPT_BYTES = 1024
"""Strings above this stay in the file, as a `Blob`: images and whole arrays are rarely wanted."""

# Upper bounds in bytes of what CPython allocates, checked by a test with tracemalloc.
_OBJECT, _SLOT, _CONTAINER, _MEMO = 64, 8, 128, 112


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


_MARK = object()


class Pickle(NamedTuple):
    """One pickle: its value, where it ends, and all that it refers to outside of itself."""

    value: Any
    end: int
    names: set[Name]
    references: list[Persistent]


def read(file: BinaryIO, start: int, limit: int) -> Pickle:
    """One pickle at `start` of `file`, which must end before `limit`.

    Raises:
      CheckpointError: for a damaged stream, or one whose objects take more than `OBJECT_BYTES`.
    """
    file.seek(start)
    reader = _Reader(file, start, limit)
    try:
        return Pickle(reader.run(), reader.position, reader.names, reader.references)
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        if isinstance(error, CheckpointError):
            raise
        # The stack, the memo or an argument is not what the opcode needs.
        raise CheckpointError(f"its pickle is damaged near byte {reader.position} ({type(error).__name__})") from error


class _Reader:
    def __init__(self, file: BinaryIO, start: int, limit: int) -> None:
        self.file = file
        self.position = start
        self.limit = limit
        self.left = OBJECT_BYTES
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.names: set[Name] = set()
        self.references: list[Persistent] = []

    def run(self) -> Any:
        while True:
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                (value,) = self.stack
                return value
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise CheckpointError(f"byte {code:#x} at {self.position - 1} is no pickle opcode: damaged")
            operation(self)

    def take(self, length: int) -> bytes:
        if length < 0 or self.position + length > self.limit:
            raise CheckpointError(f"its pickle ends at byte {self.limit} inside a value: truncated")
        data = self.file.read(length)
        if len(data) != length:
            raise CheckpointError("the file became shorter while it was read")
        self.position += length
        return data

    def line(self) -> bytes:
        data = self.file.readline(min(self.limit - self.position, KEPT_BYTES))
        if not data.endswith(b"\n"):
            raise CheckpointError(f"a line of its pickle at byte {self.position} has no end: damaged")
        self.position += len(data)
        return data[:-1]

    def number(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self.take(struct.calcsize(layout)))
        return value

    def push(self, value: Any, cost: int = _OBJECT) -> None:
        self.left -= cost
        if self.left < 0:
            raise CheckpointError(f"the objects of its pickle take more than {OBJECT_BYTES} bytes: refused")
        self.stack.append(value)

    def push_bytes(self, length: int, text: bool | None) -> None:
        if length > KEPT_BYTES:
            if self.position + length > self.limit:
                raise CheckpointError(f"its pickle ends at byte {self.limit} inside a string: truncated")
            self.push(Blob(self.position, length, bool(text)), _CONTAINER)
            self.position += length
            self.file.seek(self.position)
            return
        data = self.take(length)
        # "surrogatepass" is what pickle itself writes and reads.
        value = data.decode("utf-8", "surrogatepass") if text else data if text is False else _text_if_possible(data)
        self.push(value, _OBJECT + 4 * length)

    def pop_mark(self) -> list[Any]:
        where = len(self.stack) - 1
        while self.stack[where] is not _MARK:
            where -= 1
            if where < 0:
                raise CheckpointError("its pickle closes a mark that it never set: damaged")
        values = self.stack[where + 1 :]
        del self.stack[where:]
        return values

    def remember(self, index: int) -> None:
        # A dictionary, so an index of two billion costs no more than any other.
        self.left -= _MEMO
        self.memo[index] = self.stack[-1]

    def call(self, function: Any, arguments: Any) -> None:
        self.push(Call(function, arguments), _CONTAINER)

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            self.left -= 2 * _SLOT * len(values)
            target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise CheckpointError("its pickle sets an item without a value: damaged")
        self.left -= _CONTAINER + _OBJECT * len(values)
        target = self.stack[-1]
        target.pairs = target.pairs or []
        target.pairs.extend(zip(values[::2], values[1::2], strict=True))


def _unary(make: Callable[[Any], Any]) -> Callable[[_Reader], None]:
    return lambda reader: reader.push(make(reader))


def _constant(value: Any) -> Callable[[_Reader], None]:
    return lambda reader: reader.push(value)


def _decimal(reader: _Reader) -> Any:
    text = reader.line().rstrip(b"L")
    # Protocol 0 writes booleans as these.
    return text == b"01" if text in (b"00", b"01") else int(text)


def _long(layout: str) -> Callable[[_Reader], None]:
    def operation(reader: _Reader) -> None:
        length = reader.number(layout)
        if length > KEPT_BYTES:
            raise CheckpointError(f"its pickle holds an integer of {length} bytes: refused")
        reader.push(int.from_bytes(reader.take(length), "little", signed=True))

    return operation


def _string(layout: str, text: bool | None) -> Callable[[_Reader], None]:
    return lambda reader: reader.push_bytes(reader.number(layout), text)


def _quoted(reader: _Reader) -> str | bytes:
    text = reader.line().strip()
    if len(text) < 2 or text[0] != text[-1] or text[0] not in b"'\"":
        raise CheckpointError("its pickle holds a string without quotes: damaged")
    return _text_if_possible(codecs.escape_decode(text[1:-1])[0])


def _text_if_possible(data: bytes) -> str | bytes:
    """What Python 2 called a string: text in a state dict's keys, bytes in an array's data."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _tuple(length: int) -> Callable[[_Reader], None]:
    def operation(reader: _Reader) -> None:
        values = [reader.stack.pop() for _ in range(length)]
        reader.push(tuple(reversed(values)))

    return operation


def _name(reader: _Reader, module: Any, name: Any) -> Name:
    if not isinstance(name, str) or not isinstance(module, str):
        raise CheckpointError("its pickle names a global by something that is no string: refused")
    reader.left -= _MEMO
    found = Name(module, name)
    reader.names.add(found)
    return found


def _global(reader: _Reader) -> Name:
    return _name(reader, reader.line().decode("utf-8"), reader.line().decode("utf-8"))


def _stack_global(reader: _Reader) -> None:
    name, module = reader.stack.pop(), reader.stack.pop()
    reader.push(_name(reader, module, name))


def _persistent(reader: _Reader, reference: Any) -> Persistent:
    reader.left -= _OBJECT
    found = Persistent(reference)
    reader.references.append(found)
    return found


def _get(read_index: Callable[[_Reader], int]) -> Callable[[_Reader], None]:
    return lambda reader: reader.push(reader.memo[read_index(reader)], _SLOT)


def _put(read_index: Callable[[_Reader], int]) -> Callable[[_Reader], None]:
    return lambda reader: reader.remember(read_index(reader))


def _reduce(reader: _Reader) -> None:
    arguments, function = reader.stack.pop(), reader.stack.pop()
    reader.call(function, arguments)


def _new_object_keywords(reader: _Reader) -> None:
    keywords, arguments, function = reader.stack.pop(), reader.stack.pop(), reader.stack.pop()
    reader.call(function, (arguments, keywords))


def _object(reader: _Reader) -> None:
    function, *arguments = reader.pop_mark()
    reader.call(function, tuple(arguments))


def _instance(reader: _Reader) -> None:
    function = _global(reader)
    reader.call(function, tuple(reader.pop_mark()))


def _build(reader: _Reader) -> None:
    state = reader.stack.pop()
    target = reader.stack[-1]
    if isinstance(target, Call):
        target.state = state


def _dict(reader: _Reader) -> None:
    values = reader.pop_mark()
    reader.push(Dict(), _CONTAINER)
    reader.set_items(values)


def _append(reader: _Reader) -> None:
    reader.append([reader.stack.pop()])


def _set_item(reader: _Reader) -> None:
    value, key = reader.stack.pop(), reader.stack.pop()
    reader.set_items([key, value])


def _list(reader: _Reader) -> None:
    values = reader.pop_mark()
    reader.push(values, _CONTAINER + _SLOT * len(values))


def _marked_tuple(reader: _Reader) -> None:
    values = tuple(reader.pop_mark())
    reader.push(values, _CONTAINER + _SLOT * len(values))


def _pop(reader: _Reader) -> None:
    reader.stack.pop()


def _refuse(what: str) -> Callable[[_Reader], None]:
    def operation(reader: _Reader) -> None:
        raise CheckpointError(f"its pickle uses {what}: refused")

    return operation


def _skip(length: int) -> Callable[[_Reader], None]:
    def operation(reader: _Reader) -> None:
        reader.take(length)

    return operation


_OPERATIONS: dict[int, Callable[[_Reader], None]] = {
    ord("("): _constant(_MARK),
    ord("0"): _pop,
    ord("1"): lambda reader: (reader.pop_mark(), None)[1],
    ord("2"): lambda reader: reader.push(reader.stack[-1], _SLOT),
    ord("F"): _unary(lambda reader: float(reader.line())),
    ord("I"): _unary(_decimal),
    ord("J"): _unary(lambda reader: reader.number("<i")),
    ord("K"): _unary(lambda reader: reader.number("<B")),
    ord("L"): _unary(_decimal),
    ord("M"): _unary(lambda reader: reader.number("<H")),
    ord("N"): _constant(None),
    ord("P"): _unary(lambda reader: _persistent(reader, reader.line().decode("utf-8"))),
    ord("Q"): _unary(lambda reader: _persistent(reader, reader.stack.pop())),
    ord("R"): _reduce,
    ord("S"): _unary(_quoted),
    ord("T"): _string("<i", None),
    ord("U"): _string("<B", None),
    ord("V"): _unary(lambda reader: reader.line().decode("raw-unicode-escape")),
    ord("X"): _string("<I", True),
    ord("a"): _append,
    ord("b"): _build,
    ord("c"): _unary(_global),
    ord("d"): _dict,
    ord("}"): lambda reader: reader.push(Dict(), _CONTAINER),
    ord("e"): lambda reader: reader.append(reader.pop_mark()),
    ord("g"): _get(lambda reader: int(reader.line())),
    ord("h"): _get(lambda reader: reader.number("<B")),
    ord("i"): _instance,
    ord("j"): _get(lambda reader: reader.number("<I")),
    ord("l"): _list,
    ord("]"): lambda reader: reader.push([], _CONTAINER),
    ord("o"): _object,
    ord("p"): _put(lambda reader: int(reader.line())),
    ord("q"): _put(lambda reader: reader.number("<B")),
    ord("r"): _put(lambda reader: reader.number("<I")),
    ord("s"): _set_item,
    ord("t"): _marked_tuple,
    ord(")"): _constant(()),
    ord("u"): lambda reader: reader.set_items(reader.pop_mark()),
    ord("G"): _unary(lambda reader: reader.number(">d")),
    0x80: _skip(1),  # PROTO
    0x81: _reduce,  # NEWOBJ
    0x82: _refuse("an extension code"),
    0x83: _refuse("an extension code"),
    0x84: _refuse("an extension code"),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    0x88: _constant(True),
    0x89: _constant(False),
    0x8A: _long("<B"),
    0x8B: _long("<i"),
    ord("B"): _string("<I", False),
    ord("C"): _string("<B", False),
    0x8C: _string("<B", True),
    0x8D: _string("<Q", True),
    0x8E: _string("<Q", False),
    0x8F: lambda reader: reader.push([], _CONTAINER),  # EMPTY_SET: a list holds its items, unhashed
    0x90: lambda reader: reader.append(reader.pop_mark()),
    0x91: _list,  # FROZENSET
    0x92: _new_object_keywords,
    0x93: _stack_global,
    0x94: lambda reader: reader.remember(len(reader.memo)),
    0x95: _skip(8),  # FRAME
    0x96: _string("<Q", False),  # BYTEARRAY8
    0x97: _refuse("an out-of-band buffer"),
    0x98: _refuse("an out-of-band buffer"),
}

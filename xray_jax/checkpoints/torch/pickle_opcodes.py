"""What each opcode of protocols 0 to 5 does on a `Machine`. None imports, calls or writes into anything real."""

import codecs
from collections.abc import Callable
from typing import Any

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.torch.pickle_machine import (
    CONTAINER,
    KEPT_BYTES,
    MARK,
    MEMO,
    OBJECT,
    SLOT,
    Machine,
    text_if_possible,
)
from xray_jax.checkpoints.torch.pickle_values import Call, Dict, Name, Persistent


def _unary(make: Callable[[Any], Any]) -> Callable[[Machine], None]:
    return lambda machine: machine.push(make(machine))


def _constant(value: Any) -> Callable[[Machine], None]:
    return lambda machine: machine.push(value)


def _decimal(machine: Machine) -> Any:
    text = machine.line().rstrip(b"L")
    # Protocol 0 writes booleans as these.
    return text == b"01" if text in (b"00", b"01") else int(text)


def _long(layout: str) -> Callable[[Machine], None]:
    def operation(machine: Machine) -> None:
        length = machine.number(layout)
        if length > KEPT_BYTES:
            raise CheckpointError(f"its pickle holds an integer of {length} bytes: refused")
        machine.push(int.from_bytes(machine.take(length), "little", signed=True))

    return operation


def _string(layout: str, text: bool | None) -> Callable[[Machine], None]:
    return lambda machine: machine.push_bytes(machine.number(layout), text)


def _quoted(machine: Machine) -> str | bytes:
    text = machine.line().strip()
    if len(text) < 2 or text[0] != text[-1] or text[0] not in b"'\"":
        raise CheckpointError("its pickle holds a string without quotes: damaged")
    return text_if_possible(codecs.escape_decode(text[1:-1])[0])


def _tuple(length: int) -> Callable[[Machine], None]:
    def operation(machine: Machine) -> None:
        values = [machine.stack.pop() for _ in range(length)]
        machine.push(tuple(reversed(values)))

    return operation


def _name(machine: Machine, module: Any, name: Any) -> Name:
    if not isinstance(name, str) or not isinstance(module, str):
        raise CheckpointError("its pickle names a global by something that is no string: refused")
    machine.spend(MEMO)
    found = Name(module, name)
    machine.names.add(found)
    return found


def _global(machine: Machine) -> Name:
    return _name(machine, machine.line().decode("utf-8"), machine.line().decode("utf-8"))


def _stack_global(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.push(_name(machine, module, name))


def _persistent(machine: Machine, reference: Any) -> Persistent:
    machine.spend(OBJECT)
    found = Persistent(reference)
    machine.references.append(found)
    return found


def _get(read_index: Callable[[Machine], int]) -> Callable[[Machine], None]:
    return lambda machine: machine.push(machine.memo[read_index(machine)], SLOT)


def _put(read_index: Callable[[Machine], int]) -> Callable[[Machine], None]:
    return lambda machine: machine.remember(read_index(machine))


def _reduce(machine: Machine) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    machine.call(function, arguments)


def _new_object_keywords(machine: Machine) -> None:
    keywords, arguments, function = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    machine.call(function, (arguments, keywords))


def _object(machine: Machine) -> None:
    function, *arguments = machine.pop_mark()
    machine.call(function, tuple(arguments))


def _instance(machine: Machine) -> None:
    function = _global(machine)
    machine.call(function, tuple(machine.pop_mark()))


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if isinstance(target, Call):
        target.state = state


def _dict(machine: Machine) -> None:
    values = machine.pop_mark()
    machine.push(Dict(), CONTAINER)
    machine.set_items(values)


def _append(machine: Machine) -> None:
    machine.append([machine.stack.pop()])


def _set_item(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.set_items([key, value])


def _list(machine: Machine) -> None:
    values = machine.pop_mark()
    machine.push(values, CONTAINER + SLOT * len(values))


def _marked_tuple(machine: Machine) -> None:
    values = tuple(machine.pop_mark())
    machine.push(values, CONTAINER + SLOT * len(values))


def _pop(machine: Machine) -> None:
    machine.stack.pop()


def _refuse(what: str) -> Callable[[Machine], None]:
    def operation(machine: Machine) -> None:
        raise CheckpointError(f"its pickle uses {what}: refused")

    return operation


def _skip(length: int) -> Callable[[Machine], None]:
    def operation(machine: Machine) -> None:
        machine.take(length)

    return operation


OPERATIONS: dict[int, Callable[[Machine], None]] = {
    ord("("): _constant(MARK),
    ord("0"): _pop,
    ord("1"): lambda machine: (machine.pop_mark(), None)[1],
    ord("2"): lambda machine: machine.push(machine.stack[-1], SLOT),
    ord("F"): _unary(lambda machine: float(machine.line())),
    ord("I"): _unary(_decimal),
    ord("J"): _unary(lambda machine: machine.number("<i")),
    ord("K"): _unary(lambda machine: machine.number("<B")),
    ord("L"): _unary(_decimal),
    ord("M"): _unary(lambda machine: machine.number("<H")),
    ord("N"): _constant(None),
    ord("P"): _unary(lambda machine: _persistent(machine, machine.line().decode("utf-8"))),
    ord("Q"): _unary(lambda machine: _persistent(machine, machine.stack.pop())),
    ord("R"): _reduce,
    ord("S"): _unary(_quoted),
    ord("T"): _string("<i", None),
    ord("U"): _string("<B", None),
    ord("V"): _unary(lambda machine: machine.line().decode("raw-unicode-escape")),
    ord("X"): _string("<I", True),
    ord("a"): _append,
    ord("b"): _build,
    ord("c"): _unary(_global),
    ord("d"): _dict,
    ord("}"): lambda machine: machine.push(Dict(), CONTAINER),
    ord("e"): lambda machine: machine.append(machine.pop_mark()),
    ord("g"): _get(lambda machine: int(machine.line())),
    ord("h"): _get(lambda machine: machine.number("<B")),
    ord("i"): _instance,
    ord("j"): _get(lambda machine: machine.number("<I")),
    ord("l"): _list,
    ord("]"): lambda machine: machine.push([], CONTAINER),
    ord("o"): _object,
    ord("p"): _put(lambda machine: int(machine.line())),
    ord("q"): _put(lambda machine: machine.number("<B")),
    ord("r"): _put(lambda machine: machine.number("<I")),
    ord("s"): _set_item,
    ord("t"): _marked_tuple,
    ord(")"): _constant(()),
    ord("u"): lambda machine: machine.set_items(machine.pop_mark()),
    ord("G"): _unary(lambda machine: machine.number(">d")),
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
    0x8F: lambda machine: machine.push([], CONTAINER),  # EMPTY_SET: a list holds its items, unhashed
    0x90: lambda machine: machine.append(machine.pop_mark()),
    0x91: _list,  # FROZENSET
    0x92: _new_object_keywords,
    0x93: _stack_global,
    0x94: lambda machine: machine.remember(len(machine.memo)),
    0x95: _skip(8),  # FRAME
    0x96: _string("<Q", False),  # BYTEARRAY8
    0x97: _refuse("an out-of-band buffer"),
    0x98: _refuse("an out-of-band buffer"),
}

"""Changes to what an input says, beside those to its bytes, of which most make JSON and protobuf unreadable."""

import json
import random
from collections.abc import Callable
from typing import Any

NUMBERS = (0, 1, -1, 2, 3, 7, 255, 1 << 16, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, 1 << 64, -(1 << 63))
VALUES = (
    *NUMBERS,
    None,
    True,
    False,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    "",
    "a",
    "../a",
    "a/b",
    "0" * 40,
    [],
    {},
    [[]],
    [1],
)
_STARTS = 200
_LENGTH = 8


def json_inside(data: bytes, chance: random.Random, same_length: bool = False) -> bytes | None:
    """The input with one value of one of its JSON texts changed; None where there is none.

    Args:
      data: JSON anywhere in it.
      chance: what is changed.
      same_length: whether the text must keep its length, as in HDF5.
    """
    text = data.decode("latin-1")
    starts = [place for place, letter in enumerate(text) if letter == "{"][:_STARTS]
    for start in chance.sample(starts, min(len(starts), 4)):
        try:
            value, end = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        new = json.dumps(_changed(value, chance)).encode("latin-1", "replace")
        if same_length:
            new = json.dumps(json.loads(new), separators=(",", ":")).encode().ljust(end - start)
            if len(new) > end - start:
                continue
        changed = data[:start] + new + data[end:]
        if start == _LENGTH and int.from_bytes(data[:_LENGTH], "little") == end - start:
            # The header of safetensors stands behind its length.
            changed = len(new).to_bytes(_LENGTH, "little") + changed[_LENGTH:]
        return changed
    return None


def _changed(value: Any, chance: random.Random) -> Any:
    places = [(None, None), *_places(value)]
    holder, key = chance.choice(places)
    old = value if holder is None else holder[key]
    match chance.randrange(6):
        case 0:
            new = chance.choice(VALUES)
        case 1 if isinstance(old, int | float) and not isinstance(old, bool):
            new = chance.choice((old + 1, old - 1, old * 2, -old))
        case 2:
            new = [old]
        case 3 if holder is not None:
            other, where = chance.choice(places[1:])
            new = other[where]
        case 4 if isinstance(holder, list):
            holder.insert(key, old)
            return value
        case 5 if holder is not None:
            del holder[key]
            return value
        case _:
            new = chance.choice(VALUES)
    if holder is None:
        return new
    holder[key] = new
    # A part may have been put into itself.
    return json.loads(_text(value))


def _text(value: Any) -> str:
    try:
        return json.dumps(value)
    except (ValueError, RecursionError):
        return "[]"


def _places(value: Any) -> list[tuple[Any, Any]]:
    found, todo = [], [value]
    while todo:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        found += [(holder, key) for key in keys]
        todo += [holder[key] for key in keys]
    return found


def onnx_inside(data: bytes, chance: random.Random) -> bytes | None:
    """An ONNX model with one field of one of its messages changed; None where the input is none."""
    import onnx
    from google.protobuf.message import DecodeError, EncodeError

    from xray_jax.checkpoints.programs.onnx_operators import TABLE

    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        return None
    messages = _messages(model)
    names = [name for node in model.graph.node for name in (*node.input, *node.output)] + ["", "x", "y"]
    message = chance.choice(messages)
    field = chance.choice(message.DESCRIPTOR.fields)
    words = sorted(TABLE) if field.name == "op_type" else names

    def value() -> Any:
        if field.type == field.TYPE_STRING:
            return chance.choice(words)
        if field.type == field.TYPE_BYTES:
            return chance.randbytes(chance.choice((0, 1, 4, 8, 36)))
        if field.enum_type is not None:
            return chance.choice(field.enum_type.values).number
        return chance.choice((0.0, 1.0, -1.0, 1e30)) if "FLOAT" in str(field.cpp_type) else chance.choice(NUMBERS)

    try:
        _set(message, field, value, messages, chance)
        return bytes(model.SerializeToString())
    except (ValueError, TypeError, EncodeError, IndexError):
        return None


def _set(message: Any, field: Any, value: Callable[[], Any], messages: list[Any], chance: random.Random) -> None:
    current = getattr(message, field.name)
    if field.message_type is not None:
        alike = [each for each in messages if each.DESCRIPTOR is field.message_type]
        if field.is_repeated and len(current) and chance.random() < 0.4:
            del current[chance.randrange(len(current))]
        elif alike:
            # By way of bytes: it may be this message itself, or one around it.
            other = chance.choice(alike).SerializeToString()
            (current.add() if field.is_repeated else current).MergeFromString(other)
    elif not field.is_repeated:
        setattr(message, field.name, value())
    elif len(current) and chance.random() < 0.7:
        place = chance.randrange(len(current))
        if chance.random() < 0.3:
            del current[place]
        else:
            current[place] = value()
    else:
        current.append(value())


def _messages(message: Any) -> list[Any]:
    found = [message]
    for field, content in message.ListFields():
        if field.message_type is not None:
            for child in content if field.is_repeated else (content,):
                found += _messages(child)
    return found

"""Fields of a network as text, `plain:activation=tanh:pool_after=1+3`: how people say what weights do not show.

Behind a family's or preset's name come its fields, each `:name=value`. Numbers, words, true and false are written as
they are, several numbers with "+" between them, no number as "none".
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import flax.linen as nn

_HIDDEN = frozenset({"num_classes", "parent", "name"})


def parse(text: str) -> dict[str, str]:
    """The options behind the name in `text`, values as text.

    Raises:
      ValueError: an option without "=".
    """
    options = {}
    for part in text.split(":")[1:]:
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"architecture {text!r}: expected options like :pool=avg behind the name, got {part!r}")
        options[name.strip()] = value.strip()
    return options


def apply(module: nn.Module, options: Mapping[str, str]) -> nn.Module:
    """`module` with the fields that `options` give.

    Raises:
      ValueError: an unknown field or a value of another kind than the field's, with what is known.
    """
    known = fields(module)
    changed = {}
    for name, value in options.items():
        if name not in known:
            raise ValueError(f"unknown option {name!r}; this network has {', '.join(sorted(known))}")
        changed[name] = _value(name, value, known[name])
    return module.clone(**changed) if changed else module


def describe(module: nn.Module, only: Collection[str] | None = None) -> str:
    """All fields of `module` that text can give, or only some of them, in the form that `parse` reads."""
    shown = {name: value for name, value in fields(module).items() if only is None or name in only}
    return "".join(f":{name}={_text(value)}" for name, value in shown.items())


def fields(module: nn.Module) -> dict[str, Any]:
    """Fields that text can give: words, numbers, truth values, tuples of whole numbers."""
    values = {f.name: vars(module)[f.name] for f in dataclasses.fields(module) if f.name not in _HIDDEN}
    simple = (str, int, float, bool)
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, simple) or (isinstance(value, tuple) and all(type(item) is int for item in value))
    }


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(name: str, text: str, old: Any) -> Any:
    try:
        if isinstance(old, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(old, tuple):
            return () if text == "none" else tuple(int(part) for part in text.split("+"))
        return type(old)(text)
    except (ValueError, KeyError):
        raise ValueError(f"option {name}={text!r}: expected the kind of {_text(old)!r}") from None

"""Modules that were pickled whole, `torch.save(model, path)`: the tensors in them, under the names of a state dict.

Their classes are names in the stream, never looked up, so what a module computes is not known any better than of a
state dict: the network is recognised from its weights.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.torch import tensors
from xray_jax.checkpoints.torch.pickle_values import Call, Name, Persistent, brief
from xray_jax.models.convolution_settings import ConvolutionSettings

_PARAMETERS, _BUFFERS, _CHILDREN = "_parameters", "_buffers", "_modules"
_NOT_SAVED = "_non_persistent_buffers_set"
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_KNOWN = (_PARAMETERS, _BUFFERS, _CHILDREN, _NOT_SAVED, *_HOOKS)
_SETTINGS = ("stride", "padding", "dilation")
_MAX_DEPTH = 64
_MAX_VALUES = 200_000
_LONGEST_NAME = 256
_MAX_SHOWN = 12

Items = list[tuple[str, Any]]


class Modules:
    """The modules of one pickle, each gone through once."""

    def __init__(self) -> None:
        self._items: dict[int, Items] = {}
        self._seen = itertools.count()

    def items(self, value: Any) -> Items | None:
        """What `state_dict()` of a module would hold; None for what is no module.

        Raises:
          CheckpointError: for modules nested without end, more values than any network has, or names that are none.
        """
        if class_of(value) is None:
            return None
        if id(value) not in self._items:
            self._items[id(value)] = list(self._leaves(value, "", 0))
        return self._items[id(value)]

    def _leaves(self, module: Call, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
        if depth == _MAX_DEPTH:
            raise CheckpointError(f"its modules are nested more than {_MAX_DEPTH} deep: refused")
        attributes = _attributes(module)
        not_saved = _names(attributes.get(_NOT_SAVED))
        for kind in (_PARAMETERS, _BUFFERS):
            for name, child in self._named(attributes.get(kind)):
                if tensors.is_tensor(child) and not (kind == _BUFFERS and name in not_saved):
                    yield f"{prefix}{name}", child
        for name, child in self._named(attributes.get(_CHILDREN)):
            if class_of(child) is not None:
                yield from self._leaves(child, f"{prefix}{name}.", depth + 1)

    def _named(self, value: Any) -> Iterator[tuple[str, Any]]:
        for name, child in tensors.pairs(value) or ():
            # Modules may share what they hold.
            if next(self._seen) >= _MAX_VALUES:
                raise CheckpointError(f"its modules hold more than {_MAX_VALUES} values: refused")
            if not isinstance(name, str) or not name or "." in name or len(name) > _LONGEST_NAME:
                raise CheckpointError(f"a value of its modules is called {brief(name)!r}: damaged")
            yield name, child

    def convolutions(self, module: Any) -> dict[str, ConvolutionSettings]:
        """Path of a layer -> what it is set to, of all that have strides as 2D convolutions have them."""
        found = {}
        for path, each in self._all(module, "", 0):
            said = _attributes(each, _SETTINGS)
            stride, padding, dilation = (_pair(said.get(name)) for name in _SETTINGS)
            if stride is not None and dilation is not None:
                found[path] = ConvolutionSettings(stride, padding, dilation)
        return found

    def note(self, module: Any) -> str:
        """What a row says of a module that was opened: its class, and what its weights do not show."""
        counted, hooks = Counter[str](), set[str]()
        for _, each in self._all(module, "", 0):
            name = class_of(each)
            attributes = _attributes(each)
            if name is not None and not any(tensors.pairs(attributes.get(kind)) for kind in (_PARAMETERS, _CHILDREN)):
                counted[name.name[:_LONGEST_NAME]] += 1
            hooks |= {kind for kind in _HOOKS if tensors.pairs(attributes.get(kind))}
        shown = ", ".join(f"{count} {name}" for name, count in counted.most_common(_MAX_SHOWN))
        text = f"weights of a pickled {str(class_of(module))[:120]}: its code was not run, the network is recognised "
        text += f"from the weights; modules without weights: {shown or 'none'}"
        return text + (f"; {' and '.join(sorted(hooks))} are not called" if hooks else "")

    def _all(self, module: Any, path: str, depth: int) -> Iterator[tuple[str, Call]]:
        if depth < _MAX_DEPTH:
            yield path, module
            for name, child in self._named(_attributes(module).get(_CHILDREN)):
                if class_of(child) is not None:
                    yield from self._all(child, f"{path}.{name}" if path else name, depth + 1)


def class_of(value: Any) -> Name | None:
    """The class of a pickled module; None for what is no module."""
    if not isinstance(value, Call) or tensors.is_tensor(value) or not _attributes(value).keys() & {_PARAMETERS}:
        return None
    function = value.function
    # Old streams refer to the class with its source beside it.
    if isinstance(function, Persistent) and isinstance(function.id, tuple) and len(function.id) > 1:
        function = function.id[1]
    return function if isinstance(function, Name) else None


def _attributes(value: Any, wanted: Collection[str] = _KNOWN) -> dict[str, Any]:
    return {name: child for name, child in tensors.pairs(value.state) or () if isinstance(name, str) and name in wanted}


def _pair(value: Any) -> tuple[int, int] | None:
    """Two numbers, as modules of two dimensions have them; pools have one, and layers of one dimension."""
    numbers = isinstance(value, tuple) and len(value) == 2 and all(type(each) is int for each in value)
    return value if numbers else None


def _names(value: Any) -> set[str]:
    """The strings of a set: a list here, or a call of `set` with one."""
    if isinstance(value, Call) and isinstance(value.arguments, tuple) and len(value.arguments) == 1:
        (value,) = value.arguments
    return {each for each in value if isinstance(each, str)} if isinstance(value, list) else set()

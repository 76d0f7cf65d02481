"""Modules that were pickled whole, `torch.save(model, path)`: the tensors in them, under the names of a state dict.

Their classes are names in the stream, never looked up, so what a module computes is not known any better than of a
state dict: the network is recognised from its weights.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.torch import tensors
from xray_jax.checkpoints.torch.pickle_values import Call, Name, Persistent, brief
from xray_jax.models.convolution_settings import ConvolutionSettings

_PARAMETERS, _BUFFERS, _CHILDREN = "_parameters", "_buffers", "_modules"
_NOT_SAVED = "_non_persistent_buffers_set"
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_SETTINGS = ("stride", "padding", "dilation")
_KNOWN = frozenset((_PARAMETERS, _BUFFERS, _CHILDREN, _NOT_SAVED, *_HOOKS, *_SETTINGS))
"""Attributes of a module that are looked at."""
_MAX_DEPTH = 64
_MAX_LEAVES = 10_000
_MAX_VALUES = 200_000
_LONGEST_NAME, _LONGEST_PATH = 256, 1024
_MAX_NOT_SAVED = 1000
_MAX_SHOWN = 12

Items = list[tuple[str, Any]]


class Modules:
    """The modules of one pickle, each gone through once."""

    def __init__(self) -> None:
        self._items: dict[int, Items] = {}
        self._states: dict[int, dict[str, Any]] = {}
        self._seen = itertools.count()

    def items(self, value: Any) -> Items | None:
        """What `state_dict()` of a module would hold; None for what is no module.

        Raises:
          CheckpointError: for modules nested without end, more values than any network has, or names that are none.
        """
        if self.class_of(value) is None:
            return None
        if id(value) not in self._items:
            leaves = list(itertools.islice(self._leaves(value, "", 0), _MAX_LEAVES + 1))
            if len(leaves) > _MAX_LEAVES:
                raise CheckpointError(f"its modules hold more than {_MAX_LEAVES} tensors: refused")
            self._items[id(value)] = leaves
        return self._items[id(value)]

    def class_of(self, value: Any) -> Name | None:
        """The class of a pickled module; None for what is no module."""
        if not isinstance(value, Call) or tensors.is_tensor(value) or _PARAMETERS not in self._attributes(value):
            return None
        function = value.function
        # Old streams refer to the class with its source beside it.
        if isinstance(function, Persistent) and isinstance(function.id, tuple) and len(function.id) > 1:
            function = function.id[1]
        return function if isinstance(function, Name) else None

    def _attributes(self, value: Call) -> dict[str, Any]:
        # Gone through once: a million objects may have one state of a million entries.
        key = id(value.state)
        if key not in self._states:
            entries = tensors.pairs(value.state) or ()
            self._states[key] = {name: each for name, each in entries if isinstance(name, str) and name in _KNOWN}
        return self._states[key]

    def _leaves(self, module: Call, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
        if depth == _MAX_DEPTH or len(prefix) > _LONGEST_PATH:
            raise CheckpointError(f"its modules are nested more than {_MAX_DEPTH} deep, or under longer names: refused")
        attributes = self._attributes(module)
        not_saved = _names(attributes.get(_NOT_SAVED))
        for kind in (_PARAMETERS, _BUFFERS):
            for name, child in self._named(attributes.get(kind)):
                if tensors.is_tensor(child) and not (kind == _BUFFERS and name in not_saved):
                    yield f"{prefix}{name}", child
        for name, child in self._named(attributes.get(_CHILDREN)):
            if self.class_of(child) is not None:
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
            said = self._attributes(each)
            stride, padding, dilation = (_pair(said.get(name)) for name in _SETTINGS)
            if stride is not None and dilation is not None:
                found[path] = ConvolutionSettings(stride, padding, dilation)
        return found

    def note(self, module: Any) -> str:
        """What a row says of a module that was opened: its class, and what its weights do not show."""
        counted, hooks = Counter[str](), set[str]()
        for _, each in self._all(module, "", 0):
            name = self.class_of(each)
            attributes = self._attributes(each)
            if name is not None and not any(tensors.pairs(attributes.get(kind)) for kind in (_PARAMETERS, _CHILDREN)):
                counted[name.name[:_LONGEST_NAME]] += 1
            hooks |= {kind for kind in _HOOKS if tensors.pairs(attributes.get(kind))}
        shown = ", ".join(f"{count} {name}" for name, count in counted.most_common(_MAX_SHOWN))
        text = f"weights of a pickled {str(self.class_of(module))[:120]}: its code was not run, the network is "
        text += f"recognised from the weights; modules without weights: {shown or 'none'}"
        return text + (f"; {' and '.join(sorted(hooks))} are not called" if hooks else "")

    def _all(self, module: Any, path: str, depth: int) -> Iterator[tuple[str, Call]]:
        if depth < _MAX_DEPTH:
            yield path, module
            for name, child in self._named(self._attributes(module).get(_CHILDREN)):
                if self.class_of(child) is not None:
                    yield from self._all(child, f"{path}.{name}" if path else name, depth + 1)


def _pair(value: Any) -> tuple[int, int] | None:
    """Two numbers, as modules of two dimensions have them; pools have one, and layers of one dimension."""
    numbers = isinstance(value, tuple) and len(value) == 2 and all(type(each) is int for each in value)
    return value if numbers else None


def _names(value: Any) -> set[str]:
    """The strings of a set: a list here, or a call of `set` with one."""
    if isinstance(value, Call) and isinstance(value.arguments, tuple) and len(value.arguments) == 1:
        (value,) = value.arguments
    few = isinstance(value, list) and len(value) <= _MAX_NOT_SAVED
    return {each for each in value if isinstance(each, str)} if few else set()

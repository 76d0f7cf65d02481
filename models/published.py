"""Published state-dict keys and torch layout <-> a linen variables tree.

A leaf's path joined with dots is its published key, once the leaf itself is renamed: `kernel` and `scale` are
`weight`, `mean` and `var` are `running_mean` and `running_var`. Kernels of convolutions go OIHW <-> HWIO, of linear
layers OI <-> IO; every other leaf passes as it is. A linear layer is a 1x1 convolution, and a convolution whose kernel
covers all that it sees is a linear layer of the flattened features: either form is read as the other.
"""

import functools
import math
import re
from collections.abc import Mapping
from typing import Any, Protocol

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict

_RENAMES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
_TO_LINEN = {4: (2, 3, 1, 0), 2: (1, 0)}
_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}
_BOOKKEEPING = re.compile(
    r"(^|\.)(num_batches_tracked|total_ops|total_params|relative_position_index|attn_mask|position_ids)$"
)


class Tensor(Protocol):
    """An array, or something that becomes one when `np.asarray` asks for it; `shape` costs nothing."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes."""
        ...


Tensors = Mapping[str, Tensor]


class MismatchError(ValueError):
    """Tensors do not fit a network. All that differs is in the message and in the attributes.

    Attributes:
      missing: keys that the network needs.
      extra: keys that it has no place for.
      misshaped: (key, found shape, expected shape).
    """

    def __init__(
        self, missing: list[str], extra: list[str], misshaped: list[tuple[str, tuple[int, ...], tuple[int, ...]]]
    ) -> None:
        self.missing, self.extra, self.misshaped = missing, extra, misshaped
        super().__init__("the weights do not fit the network: " + self.summary(limit=None))

    @property
    def count(self) -> int:
        """How many leaves differ."""
        return len(self.missing) + len(self.extra) + len(self.misshaped)

    def summary(self, limit: int | None = 4) -> str:
        """One line: every leaf that differs, or the first `limit` of each kind and how many more."""
        shapes = [f"{key} is {found}, expected {expected}" for key, found, expected in self.misshaped]
        kinds = (("missing", self.missing), ("extra", self.extra), ("wrong shape", shapes))
        return "; ".join(f"{len(names)} {kind}: {_listed(names, limit)}" for kind, names in kinds if names)


def _listed(names: list[str], limit: int | None) -> str:
    shown = names if limit is None else names[:limit]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def is_bookkeeping(key: str) -> bool:
    """Whether a leaf only counts something (batches seen, operations) or numbers positions: no weight."""
    return _BOOKKEEPING.search(key) is not None


@functools.lru_cache(maxsize=256)
def _leaves(module: nn.Module, input_shape: tuple[int, int, int]) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """Path (collection first) -> shape of every variable, from an abstract init: nothing is computed or allocated."""
    image = jax.ShapeDtypeStruct((1, *input_shape), np.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), image)
    return {path: leaf.shape for path, leaf in flatten_dict(variables).items()}


def _key(path: tuple[str, ...]) -> str:
    *modules, leaf = path[1:]
    return ".".join((*modules, _RENAMES.get(leaf, leaf)))


def _axes(path: tuple[str, ...], rank: int, table: Mapping[int, tuple[int, ...]]) -> tuple[int, ...]:
    return table.get(rank, tuple(range(rank))) if path[-1] == "kernel" else tuple(range(rank))


def expected_shapes(module: nn.Module, input_shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    """Published key -> shape in torch's layout of everything that `module` needs for images of `input_shape`."""
    return {
        _key(path): tuple(shape[axis] for axis in _axes(path, len(shape), _TO_TORCH))
        for path, shape in _leaves(module, input_shape).items()
    }


def compare(module: nn.Module, tensors: Tensors, input_shape: tuple[int, int, int]) -> MismatchError | None:
    """What differs between `tensors` (published keys, torch's layout) and `module`; None when they fit exactly."""
    expected = expected_shapes(module, input_shape)
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items() if not is_bookkeeping(key)}
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    misshaped = [
        (key, found[key], shape)
        for key, shape in expected.items()
        if key in found and found[key] != shape and not _same_layer(found[key], shape)
    ]
    return MismatchError(missing, extra, misshaped) if missing or extra or misshaped else None


def _same_layer(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether two shapes are one layer, as a linear layer and as a convolution: (O, I) and (O, c, h, w), I = c h w."""
    if (len(found), len(expected)) not in ((4, 2), (2, 4)) or 0 in found:
        return False
    square = max(found, expected, key=len)[2:]
    return found[0] == expected[0] and math.prod(found) == math.prod(expected) and square[0] == square[1]


def to_variables(module: nn.Module, tensors: Tensors, input_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Published tensors to the linen variables of `module`, float32 on the host.

    Args:
      module: a linen module whose submodules carry published names.
      tensors: published key -> tensor in torch's layout, any floating type. Only the leaves that `module` needs are
        turned into arrays, after all shapes were checked; bookkeeping leaves are ignored.
      input_shape: (height, width, channels) of the images.

    Raises:
      MismatchError: names every missing, extra and mis-shaped leaf.
      ValueError: a needed leaf holds no floating-point numbers.
    """
    if mismatch := compare(module, tensors, input_shape):
        raise mismatch
    variables: dict[str, Any] = {}
    expected = expected_shapes(module, input_shape)
    for path in _leaves(module, input_shape):
        array = np.asarray(tensors[_key(path)])
        # By name, because bfloat16 and the float8 types are numpy extension types of kind "V".
        if "float" not in array.dtype.name:
            raise ValueError(f"leaf {_key(path)} holds {array.dtype}, expected floating-point weights")
        array = array.reshape(expected[_key(path)])
        array = np.ascontiguousarray(array.transpose(_axes(path, array.ndim, _TO_LINEN)), np.float32)
        branch = variables
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        branch[path[-1]] = array
    return variables


def to_tensors(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Linen variables to published key -> array in torch's layout: the inverse of `to_variables`."""
    leaves = ((path, np.asarray(leaf)) for path, leaf in flatten_dict(variables).items())
    return {_key(path): leaf.transpose(_axes(path, leaf.ndim, _TO_TORCH)) for path, leaf in leaves}


class _Transposed:
    """A tensor with its axes in another order; the array is made only when asked for."""

    def __init__(self, tensor: Tensor, axes: tuple[int, ...]) -> None:
        self._tensor, self._axes = tensor, axes
        self.shape = tuple(tensor.shape[axis] for axis in axes)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._tensor, dtype).transpose(self._axes)


def from_flax(tensors: Tensors, separator: str = "/") -> dict[str, Tensor]:
    """Flattened linen variables (`params/conv1/kernel`, `batch_stats/bn1/mean`) to published keys and torch's layout.

    Nothing is read: tensors stay as lazy as they were. Keys must begin with their collection.

    Raises:
      ValueError: a key without a collection, or two leaves that come to one published key.
    """
    published: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        path = tuple(key.split(separator))
        if len(path) < 2:
            raise ValueError(f"leaf {key!r} is not inside a collection; expected 'params/...' or 'batch_stats/...'")
        axes = _axes(path, len(tensor.shape), _TO_TORCH)
        if (name := _key(path)) in published:
            raise ValueError(f"two leaves come to the name {name!r}, the second is {key!r}: save one network alone")
        published[name] = _Transposed(tensor, axes)
    return published

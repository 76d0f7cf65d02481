"""Weights that a layer computes from others: pruning masks, weight norm and spectral norm, as torch stores them.

A pruned layer keeps `weight_orig` and `weight_mask`, a weight-normed one a magnitude (`weight_g`) and a direction
(`weight_v`), a spectrally normed one `weight_orig` and the vectors of the last power iteration (`weight_u` and
`weight_v`). torch's newer form of the last two lies under `parametrizations.weight`. What the layer uses is computed
when numpy asks for it; a leaf whose parts do not belong together stays as it is, and nothing fits it.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np

from xray_jax.models.published import Tensor


class Effective:
    """A leaf that is computed from the stored ones when numpy asks for it.

    Attributes:
      shape: of the weight.
    """

    def __init__(self, compute: Callable[..., np.ndarray], *parts: Tensor) -> None:
        self._compute, self._parts = compute, parts
        self.shape = tuple(parts[0].shape)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        # In double precision: what torch computes in single is nearer to it than another order of single sums.
        parts = [np.asarray(part).astype(np.float64) for part in self._parts]
        return self._compute(*parts).astype(dtype or np.float32)


def effective(arrays: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The arrays with every reparametrised weight in place of its parts, and notes on what was computed.

    Args:
      arrays: published key -> tensor, in torch's layout.
    """
    computed: dict[str, tuple[str, Effective]] = {}
    gone: set[str] = set()
    counts: dict[str, int] = {}
    for kind, pattern, names, fits, compute in _KINDS:
        for key in arrays:
            if (match := re.fullmatch(pattern, key)) is None:
                continue
            target, *parts = (name.format(*match.groups()) for name in names)
            if target in arrays or not all(part in arrays and part not in gone for part in parts):
                continue
            tensors = [arrays[part] for part in parts]
            if fits(*(tuple(tensor.shape) for tensor in tensors)):
                computed[parts[0]] = target, Effective(compute, *tensors)
                gone.update(parts)
                counts[kind] = counts.get(kind, 0) + 1
    # In their places: plain nets are read in the order of their layers.
    found = {
        computed[key][0] if key in computed else key: computed[key][1] if key in computed else tensor
        for key, tensor in arrays.items()
        if key in computed or key not in gone
    }
    return found, tuple(f"{count} leaves computed from their {kind}" for kind, count in counts.items())


Shape = tuple[int, ...]


def _same(values: Shape, mask: Shape) -> bool:
    return values == mask


def _masked(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return values * mask


def _magnitudes(direction: Shape, magnitude: Shape) -> bool:
    """One magnitude of all, or one for each index of one axis."""
    if magnitude in ((), (1,)):
        return True
    kept = [axis for axis, length in enumerate(magnitude) if length != 1]
    whole = len(magnitude) == len(direction) and len(kept) < 2
    return whole and all(magnitude[axis] == direction[axis] for axis in kept)


def _weight_normed(direction: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    # An axis of length 1 is normed over or not, with the same result as long as another one is kept.
    kept = [axis for axis, length in enumerate(magnitude.shape) if length != 1]
    if not kept and magnitude.ndim == direction.ndim and direction.ndim:
        kept = [0] if direction.shape[0] == 1 else []
    axes = tuple(axis for axis in range(direction.ndim) if axis not in kept)
    with np.errstate(divide="ignore", invalid="ignore"):
        return direction * (magnitude / np.sqrt(np.sum(direction**2, axis=axes, keepdims=True)))


def _vectors(values: Shape, left: Shape, right: Shape) -> bool:
    return len(values) > 1 and left == values[:1] and right == (int(np.prod(values[1:])),)


def _spectral_normed(values: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Divided by the largest singular value, as the stored vectors of the power iteration give it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return values / (left @ values.reshape(len(values), -1) @ right)


_NEW = "{0}parametrizations.{1}"
_KINDS: tuple[tuple[str, str, tuple[str, ...], Callable[..., bool], Callable[..., np.ndarray]], ...] = (
    ("pruning masks", r"(.*)_mask", ("{0}", "{0}_orig", "{0}_mask"), _same, _masked),
    ("spectral norms", r"(.*)_u", ("{0}", "{0}_orig", "{0}_u", "{0}_v"), _vectors, _spectral_normed),
    ("weight norms", r"(.*)_g", ("{0}", "{0}_v", "{0}_g"), _magnitudes, _weight_normed),
    (
        "weight norms",
        r"((?:.*\.)?)parametrizations\.(\w+)\.original0",
        ("{0}{1}", f"{_NEW}.original1", f"{_NEW}.original0"),
        _magnitudes,
        _weight_normed,
    ),
    (
        "spectral norms",
        r"((?:.*\.)?)parametrizations\.(\w+)\.0\._u",
        ("{0}{1}", f"{_NEW}.original", f"{_NEW}.0._u", f"{_NEW}.0._v"),
        _vectors,
        _spectral_normed,
    ),
)
"""(what people call it, the part that tells it, the weight and its parts, whether their shapes belong together, the
weight of its parts)"""

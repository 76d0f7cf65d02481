"""Queries: hard labels of stamped images, and the cost of stamps.

One program per network, whatever the family: queries are sorted so that every batch holds stamps of one family, and a
`lax.switch` per batch picks how they are put on. Stamped images exist only on the device; parameters and image
numbers go in, labels come out.
"""

import dataclasses
import functools
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.classifier import Model
from xray_jax.detectors.probe.stamps import FAMILIES, Shape, stamp
from xray_jax.detectors.probe.stamps.cost import TOUCHED, Cost, importance
from xray_jax.inference.dispatch import grouped
from xray_jax.inference.labels import label_queries
from xray_jax.inference.options import InferenceOptions
from xray_jax.inference.unanswered import mark_unanswered
from xray_jax.preprocess import Preprocess
from xray_jax.samples import Samples

WIDTH = 64
"""Columns of a parameter table: those of the widest family, and room. Fixed, so that a new family changes no shapes."""
CACHE_SIZE = 64
"""Calls of `measure` whose results are kept; one model's search makes about a dozen."""


class Stamps(NamedTuple):
    """K stamps of any families.

    Attributes:
      family: int32 `[K]`, index into `FAMILIES`.
      parameters: float32 `[K, WIDTH]`, each row the family's parameters, then zeros.
    """

    family: np.ndarray
    parameters: np.ndarray

    @classmethod
    def of(cls, family: int, parameters: np.ndarray) -> "Stamps":
        """Stamps of one family from `[K, P]`."""
        table = np.zeros((len(parameters), WIDTH), np.float32)
        table[:, : parameters.shape[1]] = parameters
        return cls(np.full(len(parameters), family, np.int32), table)

    @classmethod
    def join(cls, *parts: "Stamps") -> "Stamps":
        """Stamps one after the other; none of none."""
        if not parts:
            return cls(np.empty(0, np.int32), np.empty((0, WIDTH), np.float32))
        return cls(np.concatenate([p.family for p in parts]), np.concatenate([p.parameters for p in parts]))

    def take(self, index: np.ndarray) -> "Stamps":
        """The stamps `index`, integers or bools."""
        return Stamps(self.family[index], self.parameters[index])

    def own(self, k: int, shape: Shape) -> np.ndarray:
        """The parameters that stamp `k`'s family defines, `[P]`."""
        return self.parameters[k, : len(FAMILIES[self.family[k]].parameters(shape))]

    def describe(self, k: int, shape: Shape) -> str:
        """Stamp `k` in one line for people."""
        return FAMILIES[self.family[k]].describe(self.own(k, shape), shape)


IDENTITY = Stamps.of([family.name for family in FAMILIES].index("shift"), np.zeros((1, 3), np.float32))
"""The one stamp that changes nothing: a shift by zero."""


def _branches(shape: Shape) -> list[Callable[..., jax.Array]]:
    """For each family: images `[B, H, W, C]`, parameters `[B, WIDTH]`, bank -> stamped images `[B, H, W, C]`."""

    def branch(family: Any) -> Callable[..., jax.Array]:
        width = len(family.parameters(shape))

        def put(images: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
            one = functools.partial(stamp, family)
            return jax.vmap(one, in_axes=(0, 0, None))(images, parameters[:, :width], bank)

        return put

    return [branch(family) for family in FAMILIES]


def _put(images: jax.Array, family: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
    """Stamps a batch; `family` is a scalar, so only one branch runs."""
    return jax.lax.switch(
        family, _branches((images.shape[1], images.shape[2], images.shape[3])), images, parameters, bank
    )


@dataclass(frozen=True)
class StampedImages:
    """The render of stamped images: queries are (family, image number, parameters), one family a batch.

    Attributes:
      preprocess: pixel values to the network's input space.
    """

    preprocess: Preprocess

    def __call__(self, context: Any, /, *rows: jax.Array) -> jax.Array:
        images, bank = context
        family, index, parameters = rows
        return self.preprocess(_put(images[index], family[0], parameters, bank))


_put_jit = jax.jit(_put)


def label_pairs(
    model: Model,
    images: np.ndarray,
    stamps: Stamps,
    stamp_index: np.ndarray,
    image_index: np.ndarray,
    options: InferenceOptions,
    bank: np.ndarray | None = None,
) -> np.ndarray:
    """Hard labels of Q (stamp, image) pairs; `num_classes` where the logits are no numbers, which is no label.

    Args:
      model: made ready with `inference.labels.to_device`.
      images: float32 `[M, H, W, C]` in [0, 1]. stamps: K stamps.
      stamp_index, image_index: integers `[Q]`.
      bank: clean images `[B, H, W, C]` that stamps may be made of; `images` unless given.

    Returns:
      Labels `[Q]`, of the smallest integer type that holds the model's classes and one more.
    """
    family = stamps.family[stamp_index].astype(np.int32)
    rows = (family, image_index.astype(np.int32), stamps.parameters[stamp_index])
    context = (images, images if bank is None else bank)
    asked = mark_unanswered(model)
    return label_queries(asked, StampedImages(model.preprocess), context, rows, options, group=family)


def resized(samples: Samples, preprocess: Preprocess) -> Samples:
    """Samples no finer than the network sees them: larger images are resized here as its preprocessing would.

    A stamp put on before images are made smaller is blurred and may fall between pixels; triggers are put on after.
    What preprocessing enlarges is left as it is: a trigger is no finer than the data set it was made for.
    """
    size = preprocess.size
    height, width = samples.images.shape[1:3]
    if size is None or size[0] > height or size[1] > width or size == (height, width):
        return samples
    shape = (len(samples), *size, samples.images.shape[3])
    images = jax.image.resize(samples.images, shape, method="linear", antialias=False)
    return dataclasses.replace(samples, images=np.clip(images, 0, 1))


def label_stamped(
    model: Model, images: np.ndarray, stamps: Stamps, options: InferenceOptions, bank: np.ndarray | None = None
) -> np.ndarray:
    """Hard labels of every stamp on every image: `[K, M]`. Arguments as for `label_pairs`."""
    count, width = len(stamps.family), len(images)
    stamp_index, image_index = np.repeat(np.arange(count), width), np.tile(np.arange(width), count)
    pairs = label_pairs(model, images, stamps, stamp_index, image_index, options, bank)
    return pairs.reshape(count, width)


def put(images: np.ndarray, stamps: Stamps, k: int, bank: np.ndarray | None = None) -> np.ndarray:
    """Images with stamp `k`: float32 `[M, H, W, C]` in [0, 1]."""
    images = np.asarray(images, np.float32)
    parameters = np.repeat(stamps.parameters[k : k + 1], len(images), axis=0)
    return np.asarray(_put_jit(images, np.int32(stamps.family[k]), parameters, images if bank is None else bank))


_measured: OrderedDict[bytes, Cost] = OrderedDict()
_measured_lock = threading.Lock()


@jax.jit
def _measure(images: jax.Array, family: jax.Array, parameters: jax.Array, bank: jax.Array) -> tuple[jax.Array, ...]:
    """Cost of a batch of stamps of one family: four `[B]`."""

    def one(image: jax.Array) -> tuple[jax.Array, ...]:
        batch = jnp.broadcast_to(image[None], (len(parameters), *image.shape))
        change = jnp.abs(_put(batch, family, parameters, bank) - image[None])
        touched = jnp.mean(jnp.any(change > TOUCHED, axis=-1), axis=(1, 2))
        square = jnp.mean(change**2, axis=-1)
        rms = jnp.sqrt(jnp.mean(square, axis=(1, 2)))
        weighted_rms = jnp.sqrt(jnp.mean(square * importance(*square.shape[1:])[None], axis=(1, 2)))
        return touched, rms, jnp.max(change, axis=(1, 2, 3)), weighted_rms

    # One image at a time: memory stays that of one batch.
    return tuple(jnp.mean(values, axis=0) for values in jax.lax.map(one, images))


def measure(images: np.ndarray, stamps: Stamps, bank: np.ndarray) -> Cost:
    """Cost of K stamps, averaged over `images` `[M, H, W, C]`; queries no model.

    The last results are cached: every model of a batch scan is tried with the same coarse stamps.
    """
    total = hashlib.blake2b(repr((images.shape, bank.shape)).encode())
    for array in (images, bank, *stamps):
        total.update(array.tobytes())
    key = total.digest()
    with _measured_lock:
        if key in _measured:
            _measured.move_to_end(key)
            return _measured[key]
    cost = _measure_all(images, stamps, bank)
    with _measured_lock:
        _measured[key] = cost
        while len(_measured) > CACHE_SIZE:
            _measured.popitem(last=False)
    return cost


def _measure_all(images: np.ndarray, stamps: Stamps, bank: np.ndarray) -> Cost:
    # Refinement measures a few dozen stamps at a time: larger batches would be padding.
    batch = 64
    found = np.zeros((len(Cost._fields), len(stamps.family)), np.float32)
    rows = grouped(stamps.family, batch, 1)
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        safe = np.where(part >= 0, part, part[0])
        values = jax.device_get(_measure(images, stamps.family[safe[0]], stamps.parameters[safe], bank))
        found[:, part[part >= 0]] = np.stack(values)[:, part >= 0]
    return Cost(*found)

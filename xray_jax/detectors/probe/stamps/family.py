"""Family of stamps: a parameter space, a pure function on the device, a coarse grid, a description for people.

A stamp is one point of a family's parameter space. `apply` turns (image, parameters) into a stamped image and may leave
the valid pixel range: `stamp` clips, so that no family can forget to.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

Shape = tuple[int, int, int]
"""(height, width, channels) of the images."""


@dataclass(frozen=True)
class Parameter:
    """One axis of a family's parameter space.

    Attributes:
      name: for rows and people.
      low: least value.
      high: largest value.
      steps: distances of the refinement's moves, each tried both ways. Empty: the value never moves (a seed).
      values: the only values allowed, for a choice among unordered ones; all others are tried. Then the rest is unused.
      bits: the value is a bit mask of this many bits, at most 24 (exact in float32); each bit is flipped in turn.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    steps: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    bits: int = 0

    def moves(self, value: float) -> list[float]:
        """The other values that refinement tries from `value`."""
        if self.bits:
            return [float(int(value) ^ (1 << bit)) for bit in range(self.bits)]
        if self.values:
            return [other for other in self.values if other != value]
        moved = [min(max(value + sign * step, self.low), self.high) for step in self.steps for sign in (1, -1)]
        # Compared as they are stored: 0.3 in float64 is no move from 0.3 in float32.
        return [other for other in dict.fromkeys(moved) if np.float32(other) != np.float32(value)]


class Family(ABC):
    """Family of stamps. Stateless; a new one is one file and one line in `stamps/__init__.py`.

    Attributes:
      name: for rows, people, and the null.
      share: of the coarse search's stamps, relative to the other families'.
      uses_bank: whether the last parameter is the index of a clean image in `apply`'s bank.
    """

    name: ClassVar[str]
    share: ClassVar[float]
    uses_bank: ClassVar[bool] = False

    @abstractmethod
    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        """The parameter space for images of this shape; sizes scale with the image."""

    @abstractmethod
    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        """The stamped image before clipping, float32 `[H, W, C]`. Pure JAX.

        Args:
          image: float32 `[H, W, C]` in [0, 1].
          parameters: float32 `[P]`.
          bank: float32 `[B, H, W, C]` in [0, 1], clean images that a stamp may be made of.
        """

    @abstractmethod
    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        """The coarse grid, float32 `[K, P]`; a small budget takes a random part of it. K is 0 where no stamp fits."""

    @abstractmethod
    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        """The stamp in one line for people."""

    def neighbours(self, parameters: np.ndarray, shape: Shape) -> np.ndarray:
        """Every stamp that differs from `[P]` by one move of one parameter: float32 `[J, P]`, J may be 0."""
        found = []
        for axis, parameter in enumerate(self.parameters(shape)):
            for value in parameter.moves(float(parameters[axis])):
                moved = np.array(parameters, np.float32)
                moved[axis] = value
                found.append(moved)
        return np.stack(found) if found else np.empty((0, len(parameters)), np.float32)


def stamp(family: Family, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
    """The stamped image inside the valid pixel range: `[H, W, C]` in [0, 1]. Non-finite pixels become 0."""
    return jnp.clip(jnp.nan_to_num(family.apply(image, parameters, bank)), 0.0, 1.0)


def palette(channels: int) -> np.ndarray:
    """Colours to try, `[n, 3]`: white, black, the other corners of the colour cube; greys if C = 1."""
    if channels == 1:
        return np.repeat(np.asarray([1.0, 0.0, 0.5], np.float32)[:, None], 3, axis=1)
    corners = [(1, 1, 1), (0, 0, 0), (1, 1, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1)]
    return np.asarray(corners, np.float32)


def colour_parameters(channels: int) -> tuple[Parameter, ...]:
    """Parameters of a colour: red, green, blue; for grey images only the first moves."""
    used = min(channels, 3)
    return tuple(
        Parameter(name, steps=(1.0, 0.5) if axis < used else ()) for axis, name in enumerate(("red", "green", "blue"))
    )


def colour_name(colour: np.ndarray, channels: int) -> str:
    """Name of a colour `[3]`: 'white', 'black', 'grey 0.5', 'yellow', or 'rgb(1, 0.5, 0)'."""
    colour = np.asarray(colour, float)
    if channels == 1 or np.ptp(colour) == 0:
        level = float(colour[0])
        return {1.0: "white", 0.0: "black"}.get(level, f"grey {level:.2g}")
    names = {
        (1, 1, 0): "yellow", (1, 0, 0): "red", (0, 1, 0): "green",
        (0, 0, 1): "blue", (1, 0, 1): "magenta", (0, 1, 1): "cyan",
    }  # fmt: skip
    return names.get(tuple(colour.tolist()), "rgb({:.2g}, {:.2g}, {:.2g})".format(*colour))


def as_channels(colour: jax.Array, image: jax.Array) -> jax.Array:
    """A colour `[3]` as `[1, 1, C]`: grey images take its first value."""
    return colour[: image.shape[-1]].reshape(1, 1, -1)


def pixel_grid(image: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Row and column of every pixel, float32 `[H, W]` each."""
    height, width, _ = image.shape
    rows, columns = jnp.meshgrid(
        jnp.arange(height, dtype=jnp.float32), jnp.arange(width, dtype=jnp.float32), indexing="ij"
    )
    return rows, columns


def positions(extent: int, side: int, stride: int) -> list[int]:
    """Top (or left) edges of a window of `side` pixels, `stride` apart, both ends of the image always among them."""
    last = max(extent - side, 0)
    return sorted({*range(0, last + 1, stride), last})

"""A Keras layer's config read key by key, each value checked, under its names in Keras 1, 2 and 3."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xray_jax.checkpoints.contents import CheckpointError

_KERAS_1 = {
    "filters": "nb_filter",
    "strides": "subsample",
    "padding": "border_mode",
    "data_format": "dim_ordering",
    "use_bias": "bias",
    "units": "output_dim",
}
_DATA_FORMATS = {"tf": "channels_last", "th": "channels_first", "default": "channels_last", None: "channels_last"}

MAX_EXTENT = 1 << 20
"""No size, pad, unit count or channel count of a classifier comes near this."""


class Settings:
    """One layer's config.

    Attributes:
      where: the layer, for messages.
      keras: major version of the Keras that wrote the file; some defaults and functions changed with it.
    """

    def __init__(self, config: Any, where: str, keras: int) -> None:
        if not isinstance(config, Mapping):
            raise CheckpointError(f"{where}: its config is not a mapping")
        self._config = config
        self.where = where
        self.keras = keras

    def raw(self, key: str, default: Any = None) -> Any:
        """The value as the file has it."""
        value = self._config.get(key, self._config.get(_KERAS_1.get(key, key), default))
        # Keras 2.2 wrote numpy scalars and arrays in the first way, Keras 3 writes arrays in the second.
        if isinstance(value, Mapping) and value.get("type") == "ndarray":
            return value.get("value")
        if isinstance(value, Mapping) and value.get("class_name") in ("__numpy__", "__tensor__"):
            return value["config"]["value"]
        return value

    def error(self, key: str, expected: str) -> CheckpointError:
        """What to raise for a value that is not what was expected."""
        return CheckpointError(f"{self.where}: {key} is {str(self.raw(key))[:80]!r}, expected {expected}")

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.raw(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number from 1 to `MAX_EXTENT`."""
        value = self.raw(key, default)
        if not _is_extent(value):
            raise self.error(key, "a whole number of at least 1")
        return int(value)

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number, bare or in a list of one."""
        value = self.raw(key, default)
        if isinstance(value, Sequence) and len(value) == 1:
            value = value[0]
        if not _is_number(value):
            raise self.error(key, "a number")
        return float(value)

    def numbers(self, key: str, default: float) -> list[float] | float:
        """A number, or a list of numbers as a flat list."""
        value = self.raw(key, default)
        if _is_number(value):
            return float(value)
        flat = _flat(value)
        if not flat or not all(_is_number(v) for v in flat):
            raise self.error(key, "a number or a list of numbers")
        return [float(v) for v in flat]

    def array(self, key: str, default: float) -> Any:
        """A number, or lists in lists of numbers that make an array."""
        flat = self.numbers(key, default)
        if isinstance(flat, float):
            return flat
        try:
            return np.array(self.raw(key), np.float64).tolist()
        except ValueError as error:
            raise self.error(key, "an array of numbers, whose rows have one length") from error

    def choice(self, key: str, known: Sequence[str], default: str) -> str:
        """One of the known words."""
        value = self.raw(key, default)
        if value not in known:
            raise self.error(key, "one of " + ", ".join(known))
        return str(value)

    def pair(self, key: str, default: Any = None) -> list[int]:
        """(height, width), or one number for both."""
        value = self.raw(key)
        value = default if value is None else value
        if _is_extent(value):
            value = [value, value]
        if not (isinstance(value, Sequence) and len(value) == 2 and all(_is_extent(v) for v in value)):
            raise self.error(key, "one or two whole numbers of at least 1")
        return [int(v) for v in value]

    def borders(self, key: str) -> list[list[int]]:
        """((top, bottom), (left, right)) from that, from (vertical, horizontal) or from one number."""
        value = self.raw(key, 1)
        if isinstance(value, int):
            value = [value, value]
        if isinstance(value, Sequence) and len(value) == 2:
            pairs = [[v, v] if isinstance(v, int) else v for v in value]
            if all(isinstance(p, Sequence) and len(p) == 2 and all(_is_extent(v, 0) for v in p) for p in pairs):
                return [[int(v) for v in p] for p in pairs]
        raise self.error(key, "one number, two numbers or two pairs, none negative")

    def integers(self, key: str, default: Any = None) -> list[int]:
        """A whole number or a list of them, negative ones included."""
        value = self.raw(key, default)
        value = value if isinstance(value, Sequence) else [value]
        if not value or not all(_is_extent(v, -MAX_EXTENT) for v in value):
            raise self.error(key, "a whole number or a list of them")
        return [int(v) for v in value]

    def data_format(self) -> str:
        """ "channels_last" or "channels_first"."""
        value = self.raw("data_format")
        value = _DATA_FORMATS.get(value, value) if value is None or isinstance(value, str) else value
        if value not in ("channels_last", "channels_first"):
            raise self.error("data_format", "channels_last or channels_first")
        return str(value)

    def kernel_size(self) -> list[int]:
        """(height, width) of a convolution's kernel."""
        if self.raw("kernel_size") is None and self.raw("nb_row") is not None:
            return [self.integer("nb_row"), self.integer("nb_col")]
        return self.pair("kernel_size")

    def refuse(self, key: str, *harmless: Any) -> None:
        """An option that is not implemented may be there only with a value that changes nothing."""
        if self.raw(key) not in (None, False, *harmless):
            raise CheckpointError(f"{self.where}: {key}={str(self.raw(key))[:80]} is not supported")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 3e38


def _is_extent(value: Any, least: int = 1) -> bool:
    return _is_number(value) and value == int(value) and least <= value <= MAX_EXTENT


def _flat(value: Any) -> list[Any]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [leaf for part in value for leaf in _flat(part)]
    return [value]

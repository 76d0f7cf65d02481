"""The contents of a checkpoint file before its architecture is recognised: named arrays and metadata.

Every reader of a file of weights ends here. A checkpoint is hostile until proved otherwise, so the helpers that turn
its numbers into allocations live here too.
"""

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from flax.traverse_util import flatten_dict

from xray_jax.models.convolution_settings import ConvolutionSettings

SLACK = 64 << 20
"""Bytes that a checkpoint may unpack to beyond its size on disk."""

MAX_JSON_BYTES = 8 << 20
"""JSON grows about twentyfold when parsed; no index, header or config of a classifier comes near this."""

CONFIG = "config.json"
"""Beside the weights of a network from a hub; under this name what it says is in the metadata."""

LONGEST_MESSAGE = 4000
"""Characters of an error's message."""

OPTIMISER_KEYS = ("opt_state", "optimizer", "optimiser")
"""Top-level keys of a training state that hold no weights of the network."""


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names the file or leaf, what was expected and what to do.

    What a file gives names to may be as long as the file: a message is cut at `LONGEST_MESSAGE` characters.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message if len(message) <= LONGEST_MESSAGE else f"{message[:LONGEST_MESSAGE]} ...")


PART = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Names of networks in a file that rows and flags can name: `path#part`."""


class SeveralNetworksError(CheckpointError):
    """A file holds several classifiers; the message lists them.

    Attributes:
      parts: their names, for `loading.load`.
    """

    def __init__(self, message: str, parts: tuple[str, ...]) -> None:
        super().__init__(message)
        self.parts = parts


class LazyArray:
    """An array whose shape and dtype are known and whose bytes are read when numpy asks for them.

    Attributes:
      shape: of the array that `np.asarray` makes.
      dtype: of that array.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, read: Callable[[], np.ndarray]) -> None:
        self.shape = shape
        self.dtype = dtype
        self._read = read

    @property
    def nbytes(self) -> int:
        """Bytes that the array will take."""
        # Python integers: a declared shape must not overflow into a small number.
        total = self.dtype.itemsize
        for length in self.shape:
            total *= length
        return total

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        try:
            array = self._read()
        except CheckpointError:
            raise
        except Exception as error:
            # Decompressors and tensorstore raise their own kinds.
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"damaged array data ({type(error).__name__}: {reason}); copy it again") from error
        return array if dtype is None else array.astype(dtype, copy=False)


Array = np.ndarray | LazyArray


@dataclass(frozen=True)
class Tensors:
    """Named arrays of one checkpoint.

    Attributes:
      arrays: name -> array, of any dtype and strides, read late where the format allows it.
      layout: "torch": published state-dict keys, convolutions OIHW, linear layers OI. "flax": paths of a linen
        variables tree joined by "/" ("params/layer1.0/conv1/kernel"), convolutions HWIO, dense layers IO.
      metadata: what the file declares about itself, JSON types only. Known keys: `architecture` (or `model_name`),
        `num_classes`, `input_shape`, `preprocess`, `clean_accuracy`.
      notes: what was skipped and why, for rows and people.
      size: bytes on disk; what the model needs may not exceed it by more than `SLACK`.
      networks: where a file holds several networks: their names, with which (and a dot) the names of arrays begin.
      own: whether this package wrote the metadata, and so the network is one of its own.
      convolutions: name of a layer -> what the file says of it that weights do not show; of most files nothing.
    """

    arrays: Mapping[str, Array]
    layout: Literal["torch", "flax"] = "torch"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    size: int = 0
    networks: tuple[str, ...] = ()
    own: bool = False
    convolutions: Mapping[str, ConvolutionSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `CheckpointError`: an array could be of two networks by its name."""
        for one, other in itertools.permutations(self.networks, 2):
            if f"{other}.".startswith(f"{one}."):
                raise CheckpointError(
                    f"names of its networks, {one[:80]!r} and {other[:80]!r}, run into each other: rename one"
                )

    def network(self, name: str) -> "Tensors":
        """One of several networks, as if it were alone in the file.

        Raises:
          CheckpointError: there is none of this name.
        """
        if name not in self.networks:
            there = f"those in the file are {', '.join(self.networks)}" if self.networks else "the file holds one alone"
            raise CheckpointError(f"it holds no network {name!r}: {there}")
        start = f"{name}."
        arrays = {key.removeprefix(start): array for key, array in self.arrays.items() if key.startswith(start)}
        said = {key.removeprefix(start): value for key, value in self.convolutions.items() if key.startswith(start)}
        return dataclasses.replace(self, arrays=arrays, convolutions=said, networks=())


def check_budget(arrays: Iterable[Array], size: int) -> None:
    """Refuses to copy more than the file can honestly hold: strides of zero and shared storages are cheap to declare.

    Raises:
      CheckpointError: when `arrays` together take more than `size` + `SLACK` bytes.
    """
    declared = sum(array.nbytes for array in arrays)
    if declared > size + SLACK:
        raise CheckpointError(f"its tensors unpack to {declared} bytes, the file has {size}: refused")


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries to {"a/b/c": leaf}; empty ones vanish.

    Raises:
      CheckpointError: two leaves come to one name, because a key has a "/" in it.
    """
    flat: dict[str, Any] = {}
    for path, leaf in flatten_dict(tree).items():
        name = "/".join(map(str, path))
        if name in flat:
            raise CheckpointError(f"the leaf {name!r} occurs twice")
        flat[name] = leaf
    return flat


def digest(arrays: Mapping[str, Array]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes: the checksum of formats that have none."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        total.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def parse_json(data: bytes, what: str) -> Any:
    """JSON of bounded size.

    Raises:
      CheckpointError: naming `what`, when it is too large or not JSON.
    """
    if len(data) > MAX_JSON_BYTES:
        raise CheckpointError(f"{what}: {len(data)} bytes of JSON, more than {MAX_JSON_BYTES}: refused")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{what}: not readable JSON ({error})") from error

"""Plain pickles, of protocols 0 to 5: dictionaries of numpy arrays open, everything else is refused with advice."""

from pathlib import Path

import numpy as np

from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.torch import pickles, state_dict
from xray_jax.checkpoints.torch.pickle_values import Blob

NAME = "pickle"
_PICKLES = (".pkl", ".pickle", ".pk", ".p")
_TORCH = (".pt", ".pth", ".th", ".tar", ".ckpt", ".bin")
SUFFIXES = _PICKLES + _TORCH
"""Those of torch's zip and stream files are the same."""
_PROTO = 0x80
# Protocols 0 and 1 have no signature: a mark, an empty container, or a global opens them.
_OPENINGS = b"(]})c"


def matches(path: Path, head: bytes) -> bool:
    """By a pickle's first byte, and where that says little the suffix too."""
    if head[:1] == bytes((_PROTO,)):
        return head[1:2] <= b"\x05"
    suffix = path.suffix.lower() if head else ""
    return suffix in _PICKLES or (suffix in _TORCH and head[:1] in (bytes((c,)) for c in _OPENINGS))


def read(path: Path) -> Tensors:
    """The arrays of the dictionary, read late; see `state_dict.extract`."""
    source = Source.of(path)
    with source.open() as file:
        pickle = pickles.read(file, 0, source.size)
    if pickle.end != source.size:
        raise CheckpointError(f"{source.size - pickle.end} bytes follow its pickle: damaged, or no weights")
    return state_dict.extract(pickle, _Container(source), source.size)


class _Container:
    big_endian = False

    def __init__(self, source: Source) -> None:
        self._source = source

    def storage_bytes(self, key: str) -> int:
        raise CheckpointError("its storages are not in the file; save it with torch.save(model.state_dict(), path)")

    def storage(self, key: str) -> np.ndarray:
        raise CheckpointError("its storages are not in the file; save it with torch.save(model.state_dict(), path)")

    def blob(self, blob: Blob) -> bytes:
        return self._source.read(blob.offset, blob.length).tobytes()

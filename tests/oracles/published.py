"""Logits of networks as torchvision, timm and other packages compute them, kept in `published.jsonl`.

Those packages are no dependency of the tests. Each line has the names and shapes of one network's state dict and its
logits for weights and images that depend on names and shapes alone, so a test makes the same ones and compares.
`make_published.py` wrote the file.
"""

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("published.jsonl")
"""One JSON object a line: network, by (package and version), shapes, image, logits."""


def read(network: str) -> dict[str, Any]:
    """The line of one network."""
    return next(line for line in map(json.loads, FILE.read_text().splitlines()) if line["network"] == network)


def weights(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers for a leaf of a state dict, of a size that keeps activations alive through all layers."""
    normal = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    leaf = key.rpartition(".")[2]
    if leaf == "running_var":
        return (np.abs(normal) + 0.5).astype(np.float32)
    if len(shape) > 1:
        fan = math.prod(shape[1:])
        return (normal * ((2 / fan) ** 0.5 if fan > 1 else 0.5)).astype(np.float32)
    return ((leaf == "weight") + 0.2 * normal).astype(np.float32)


def images(height: int, width: int) -> np.ndarray:
    """Two random images, `[2, height, width, 3]`."""
    return np.random.RandomState(1).standard_normal((2, height, width, 3)).astype(np.float32)

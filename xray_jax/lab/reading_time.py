"""How long a torch file takes to open, here and with `torch.load`, side by side in one run."""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from xray_jax.checkpoints import formats
from xray_jax.models import published


def write(path: Path, network: nn.Module, input_shape: tuple[int, int, int], *, zipped: bool = True) -> None:
    """A state dict of random weights of `network` as `torch.save` writes it (needs torch)."""
    import torch

    image = np.zeros((1, *input_shape), np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)
    generator = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: generator.normal(size=leaf.shape).astype(np.float32), shapes)
    tensors = published.to_tensors(variables)
    content = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in tensors.items()}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


def compare(path: Path, repeats: int = 9) -> Mapping[str, float]:
    """Seconds (median of `repeats`, the two readers in turn) until every array of a state dict is in memory.

    Returns:
      `ours`, `torch` (with `weights_only=True`) and their `ratio`, ours over torch's.
    """
    import torch

    def ours() -> Any:
        contents = formats.read(path)
        assert isinstance(contents, formats.Tensors)
        return [np.asarray(array) for array in contents.arrays.values()]

    readers: dict[str, Callable[[], Any]] = {
        "ours": ours,
        "torch": lambda: torch.load(path, map_location="cpu", weights_only=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(repeats + 1):
        for name, reader in readers.items():
            start = time.perf_counter()
            reader()
            seconds[name].append(time.perf_counter() - start)
    # The first round warms caches up.
    median = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    return {**median, "ratio": median["ours"] / median["torch"]}

"""Throughput of reading a state dict, here and in torch."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from xray_jax import checkpoints
from xray_jax.bench.harness import Figure, measure, rate, ratio
from xray_jax.bench.options import Options
from xray_jax.bench.subjects import classifier
from xray_jax.classifier import Classifier


def run(options: Options) -> Iterator[Figure]:
    """Megabytes a second, and the ratio to `torch.load(weights_only=True)`.

    Raises:
      ValueError: torch is not installed, or the architecture has no torch counterpart here.
    """
    try:
        import torch

        from xray_jax.bench import torch_nets
    except ImportError as error:
        raise ValueError(f"--case=reading needs torch: pip install 'xray-jax[test]' ({error})") from error
    for architecture in options.architectures:
        model = classifier(architecture)
        try:
            module = torch_nets.module_of(model)
        except ValueError as error:
            raise ValueError(f"--case=reading: {error}") from None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.pth"
            torch.save(module.state_dict(), path)
            size = path.stat().st_size / 1e6
            functions = {
                "torch": lambda path=path: torch.load(path, weights_only=True),
                "xray_jax": lambda path=path: _read(path),
            }
            timings = measure(functions, options.repeats)
        for name, timing in timings.items():
            yield rate("reading", f"{architecture}, {name}", timing, size, "MB", f"{size:.1f} MB state dict")
        yield ratio("reading", f"{architecture}, xray_jax / torch", timings["xray_jax"], timings["torch"])


def _read(path: Path) -> Any:
    model = checkpoints.load(path)
    assert isinstance(model, Classifier)
    return jax.block_until_ready(model.variables)

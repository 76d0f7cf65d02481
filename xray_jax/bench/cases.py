"""The cases, each a function of `Options` to figures, and which of the options it goes by."""

from collections.abc import Callable, Iterator, Mapping

from xray_jax.bench import accelerator, compare, devices, fidelity, forward, probing, quick, reading, scans, sweeps, zoo
from xray_jax.bench.harness import Figure
from xray_jax.bench.options import Options as Options

CASES: Mapping[str, Callable[[Options], Iterator[Figure]]] = {
    "forward": forward.run,
    "scan": scans.run,
    "compare": compare.run,
    "fidelity": fidelity.run,
    "sweep": sweeps.run,
    "reading": reading.run,
    "devices": devices.run,
    "zoo": zoo.run,
    "probe": probing.run,
    "quick": quick.run,
    "accelerator": accelerator.run,
}

_SCANNED = {"planes", "density", "precision", "batch_size"}
_REPLAYED = _SCANNED | {"architectures", "maps", "repeats"}
USED: Mapping[str, frozenset[str]] = {
    "forward": frozenset({"architectures", "batches", "precision", "points", "repeats"}),
    "scan": frozenset(_REPLAYED),
    "compare": frozenset(_REPLAYED | {"points"}),
    "fidelity": frozenset({"maps"}),
    "sweep": frozenset(_SCANNED | {"detectors", "checkpoints", "sampling", "repeats"}),
    "reading": frozenset({"architectures", "repeats"}),
    "devices": frozenset({"precision", "points", "repeats"}),
    "zoo": frozenset(_SCANNED),
    "probe": frozenset({"zoo", "samples"}),
    "quick": frozenset({"planes", "density", "points", "repeats"}),
    "accelerator": frozenset(_REPLAYED | {"batches", "points", "together"}),
}
"""Case -> names of the `Options` that its figures depend on."""

"""The cases, each a function of `Options` to figures."""

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

"""Throughput by architecture and batch: queries a second, FLOP/s, share of the machine's matrix-product peak."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from xray_jax.bench.harness import Figure, measure, rate
from xray_jax.bench.options import Options
from xray_jax.bench.subjects import CLASSES, classifier, plane_grid, spread
from xray_jax.detectors.planes.queries import label_points
from xray_jax.inference.labels import to_device
from xray_jax.inference.options import InferenceOptions
from xray_jax.models import registry


def flops_per_image(architecture: str) -> float:
    """Operations of one image's forward pass, as XLA counts them before optimisation: no products with padding."""
    network = registry.build(architecture, CLASSES)
    images = jax.ShapeDtypeStruct((1, *registry.lookup(architecture)[0].input_shape), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    analysis: Any = jax.jit(network.apply).lower(variables, images).cost_analysis()
    return float(analysis["flops"])


def matmul_peak(precision: str, size: int = 2048, repeats: int = 5) -> float:
    """FLOP/s of a large square matrix product on one device: what the machine can really do.

    Args:
      precision: see `InferenceOptions`.
      size: of the matrix.
      repeats: of which the fastest counts.
    """
    matrix = jnp.ones((size, size), jnp.bfloat16 if precision == "bfloat16" else jnp.float32)
    chosen = "highest" if precision == "float32" else "default"
    product = jax.jit(lambda a: jnp.dot(a, a, precision=chosen))
    timing = measure({"product": lambda: product(matrix).block_until_ready()}, repeats)["product"]
    return 2 * size**3 / min(timing.wall)


def run(options: Options) -> Iterator[Figure]:
    """One figure for each architecture and batch size."""
    devices = jax.local_devices()
    peak = matmul_peak(options.precision) * len(devices if devices[0].platform != "cpu" else devices[:1])
    yield Figure("forward", "matrix-product peak", peak / 1e9, "GFLOP/s", note=options.precision)
    for architecture in options.architectures:
        model = classifier(architecture)
        planes, index, coordinates, _ = plane_grid(model.input_shape, 4, 100)
        flops = flops_per_image(architecture)
        functions = {}
        for batch in options.batches:
            inference = InferenceOptions(batch, precision=options.precision)
            # Whole batches on every device, so that no figure pays for padding.
            count = max(1, options.points // (batch * len(devices))) * batch * len(devices)
            chosen = spread(count, len(index))
            placed = to_device(model, inference)
            ask = functools.partial(label_points, placed, planes, index[chosen], coordinates[chosen], inference)
            functions[str(batch)] = (ask, count)
        timings = measure({name: ask for name, (ask, _) in functions.items()}, options.repeats)
        for name, timing in timings.items():
            figure = rate("forward", f"{architecture}, batch {name}", timing, functions[name][1], "queries")
            share = figure.value * flops / peak
            note = f"{figure.value * flops / 1e9:.4g} GFLOP/s as direct sums, {100 * share:.0f} % of the peak"
            yield Figure(figure.case, figure.name, figure.value, figure.unit, figure.spread, note)

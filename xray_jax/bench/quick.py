"""The quick case: in under three minutes, ratios and counts that tell whether the scanner got worse."""

import functools
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import jax
import jax.numpy as jnp

from xray_jax import checkpoints, samples
from xray_jax.bench import compare
from xray_jax.bench.harness import Figure, measure, rate, ratio
from xray_jax.bench.options import Options
from xray_jax.bench.subjects import plane_grid, spread
from xray_jax.classifier import Classifier, Model
from xray_jax.detectors import registry
from xray_jax.detectors.detection import Detector
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.planes.queries import label_points
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.inference.labels import to_device
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import prepare

CASE = "quick"
SUBJECTS = {
    "clean": "cifar10-preactresnet-small-clean-s100",
    "backdoored": "cifar10-preactresnet-small-badnets-t3-s201",
}
"""Networks of the demo that are asked."""
WHITE_BOX = ("margin", "perturbation")
"""Detectors that look inside, of those that references are compared by."""
PROBE = ProbeOptions()
SIZE = 1024
"""Of the matrix whose product is the measure of the machine."""
PRODUCTS = 16


def run(options: Options) -> Iterator[Figure]:
    """Queries of a verdict, counted; time of points, planes and probe, as multiples of matrix products of the same run.

    Where torch and onnxruntime are installed, the points of the same network in onnxruntime as well.
    """
    clean = samples.read("cifar10")
    planes = PlanesOptions(options.planes, options.density, sampling="refine")
    zoo = resources.files("xray_jax") / "demo" / "zoo"
    loaded = {kind: checkpoints.load(str(zoo / name)) for kind, name in SUBJECTS.items()}
    models = {kind: prepare(model, clean) for kind, model in loaded.items()}
    detectors: dict[str, Detector] = {"planes": Planes(planes), "probe": Probe(PROBE)}
    for kind, model in models.items():
        for name, detector in detectors.items():
            yield Figure(CASE, f"{kind}, {name}", detector.detect(model, clean).queries, "queries")
    functions: dict[str, Callable[[], Any]] = {"products": products(SIZE, PRODUCTS)}
    functions |= {name: functools.partial(each.detect, models["clean"], clean) for name, each in detectors.items()}
    for detector in registry.make(WHITE_BOX):
        functions[detector.name] = functools.partial(detector.detect, models["clean"], clean)
    functions |= points(loaded["clean"], options)
    timings = measure(functions, options.repeats)
    machine = timings["products"]
    yield rate(CASE, "matrix products", machine, PRODUCTS * 2 * SIZE**3 / 1e9, "GFLOP")
    for name in [each for each in functions if each != "products"]:
        yield ratio(CASE, f"{name} / matrix products", timings[name], machine)
    for name in WHITE_BOX:
        yield ratio(CASE, f"{name} / the probe", timings[name], timings["probe"])
    if "onnxruntime" in timings:
        yield ratio(CASE, "points / onnxruntime's", timings["points"], timings["onnxruntime"])


def products(size: int, count: int) -> Callable[[], Any]:
    """A fixed amount of work: `count` products of two `size` x `size` matrices, float32."""

    @jax.jit
    def run(matrix: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, count, lambda _, a: jnp.dot(a, matrix, precision="highest") / size, matrix)

    matrix = jnp.ones((size, size), jnp.float32)
    return lambda: run(matrix).block_until_ready()


def points(model: Model, options: Options) -> dict[str, Callable[[], Any]]:
    """Labels of points on planes, here and, where it is installed, in onnxruntime.

    Args:
      model: a PreActResNet.
      options: how many points.
    """
    planes, index, coordinates, _ = plane_grid(model.input_shape, 4, 100)
    chosen = spread(options.points, len(index))
    index, coordinates = index[chosen], coordinates[chosen]
    inference = InferenceOptions()
    placed = to_device(model, inference)
    asked: dict[str, Callable[[], Any]] = {
        "points": functools.partial(label_points, placed, planes, index, coordinates, inference)
    }
    if isinstance(model, Classifier) and (session := compare.session_of(model)) is not None:
        asked["onnxruntime"] = functools.partial(compare.onnx_points, session, planes, index, coordinates)
    return asked

"""Throughput of the same network on the same points in plain torch, onnxruntime and here, in turns in one process."""

import functools
import io
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.bench import scans
from xray_jax.bench.harness import Figure, measure, rate, ratio
from xray_jax.bench.options import Options
from xray_jax.bench.subjects import classifier, plane_grid, spread
from xray_jax.classifier import Classifier
from xray_jax.detectors.planes import geometry as planes_lib
from xray_jax.detectors.planes.queries import label_points
from xray_jax.inference.labels import to_device
from xray_jax.inference.options import InferenceOptions

TORCH_BATCH = 128
"""As the authors of the method do."""


def run(options: Options) -> Iterator[Figure]:
    """Points per second of each runtime, and scans as multiples of the plain torch loop's time.

    A scan's whole grid takes minutes in torch, so the loop is timed on `points` nodes of it and scaled up.

    Raises:
      ValueError: torch is not installed, or the architecture has no torch counterpart here.
    """
    try:
        from xray_jax.bench import torch_loop, torch_nets
    except ImportError as error:
        raise ValueError(f"--case=compare needs torch: pip install 'xray-jax[test]' ({error})") from error
    for architecture in options.architectures:
        model = classifier(architecture)
        try:
            module = torch_nets.module_of(model)
        except ValueError as error:
            raise ValueError(f"--case=compare: {error}") from None
        planes, index, coordinates, _ = plane_grid(model.input_shape, options.planes, options.density)
        part = spread(options.points, len(index))
        index, coordinates = index[part], coordinates[part]
        functions: dict[str, Callable[[], Any]] = {
            "torch": functools.partial(torch_loop.label_points, module, planes, index, coordinates, TORCH_BATCH)
        }
        for name, fast in (("jax", True), ("jax, direct convolutions", False)):
            inference = InferenceOptions(options.batch_size, precision=options.precision, fast_convolutions=fast)
            placed = to_device(model, inference)
            functions[name] = functools.partial(label_points, placed, planes, index, coordinates, inference)
        if (session := _onnx(module, model.input_shape)) is not None:
            functions["onnxruntime"] = functools.partial(onnx_points, session, planes, index, coordinates)
        found = {name: function() for name, function in functions.items()}
        timings = measure(functions, options.repeats, warm_up=0)
        for name, timing in timings.items():
            equal = float(np.mean(found[name] == found["torch"]))
            note = f"labels equal to torch's: {100 * equal:.2f} %"
            yield rate("compare", f"{architecture}, {name}", timing, len(part), "queries", note)
        for name in [each for each in timings if each != "torch"]:
            yield ratio("compare", f"{architecture}, {name} / torch", timings[name], timings["torch"])
        if "onnxruntime" in timings:
            yield ratio("compare", f"{architecture}, jax / onnxruntime", timings["jax"], timings["onnxruntime"])
        yield from _scans(architecture, options, functions["torch"], len(part))


def _scans(architecture: str, options: Options, torch: Callable[[], Any], points: int) -> Iterator[Figure]:
    kinds = {kind: scans.asker(architecture, options, kind) for kind in ("refine", "sketch")}
    timings = measure({"torch": torch, **kinds}, options.repeats)
    factor = points / (options.planes * options.density**2)
    for kind in kinds:
        figure = ratio("compare", f"{architecture}, {kind} / torch's whole grid", timings[kind], timings["torch"])
        note = f"torch timed on {points} nodes"
        yield Figure(figure.case, figure.name, figure.value * factor, figure.unit, figure.spread, note)


def session_of(model: Classifier) -> Any:
    """An onnxruntime session of the model; None without onnxruntime or torch, or where torch has no counterpart."""
    try:
        from xray_jax.bench import torch_nets

        return _onnx(torch_nets.module_of(model), model.input_shape)
    except (ImportError, ValueError):
        return None


def _onnx(module: Any, shape: tuple[int, int, int]) -> Any:
    """An onnxruntime session of the module, or None where it or its exporter is not installed."""
    try:
        import onnxruntime
        import torch

        buffer: Any = io.BytesIO()  # its annotation knows paths only
        height, width, channels = shape
        example = (torch.zeros(TORCH_BATCH, channels, height, width),)
        torch.onnx.export(module, example, buffer, dynamo=False)
        return onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    except ImportError:
        return None


@jax.jit
def _nchw_points(planes: planes_lib.Planes, index: jax.Array, coordinates: jax.Array) -> jax.Array:
    return jnp.transpose(planes_lib.points(planes, index, coordinates), (0, 3, 1, 2))


def onnx_points(session: Any, planes: Any, index: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Labels of points on planes by onnxruntime.

    Args:
      session: as `session_of` makes it.
      planes: N planes.
      index: integers `[Q]`, each point's plane.
      coordinates: float32 `[Q, 2]`, where on it.
    """
    name, found = session.get_inputs()[0].name, []
    for start in range(0, len(index), TORCH_BATCH):
        rows = np.arange(start, start + TORCH_BATCH) % len(index)
        images = np.asarray(_nchw_points(planes, index[rows], coordinates[rows]))
        found.append(session.run(None, {name: images})[0].argmax(1))
    return np.concatenate(found)[: len(index)]

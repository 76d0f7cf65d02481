"""Time of a whole model's planes: grid against refine against sketch, on the nodes that recorded maps call for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from xray_jax.bench.harness import Figure, measure, ratio
from xray_jax.bench.options import Options
from xray_jax.bench.subjects import classifier, plane_grid
from xray_jax.detectors.planes import refine, sampling
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.detectors.planes.queries import label_points
from xray_jax.inference.labels import to_device
from xray_jax.inference.options import InferenceOptions


def recorded(options: Options) -> LabelMaps | None:
    """The label maps to replay, repeated or cut to the number of planes asked for; None where no file is given.

    Raises:
      ValueError: the file's density is not the one asked for.
    """
    if options.maps is None:
        return None
    maps = LabelMaps.load(Path(options.maps))
    if maps.labels.shape[1] != options.density:
        raise ValueError(f"--maps={options.maps}: density {maps.labels.shape[1]}, asked for {options.density}")
    which = np.arange(options.planes) % len(maps.labels)
    return LabelMaps(*(getattr(maps, name)[which] for name in LabelMaps.__dataclass_fields__))


def asker(architecture: str, options: Options, kind: str) -> Callable[[], int]:
    """A function that labels one model's planes in one kind of sampling and returns the queries that it took.

    Args:
      architecture: preset of the registry, with random weights.
      options: planes, density, batch size and precision; the maps to replay.
      kind: of sampling: "grid", "refine" or "sketch".
    """
    model = classifier(architecture)
    inference = InferenceOptions(options.batch_size, precision=options.precision)
    placed = to_device(model, inference)
    planes, index, coordinates, nodes = plane_grid(model.input_shape, options.planes, options.density)
    replay = recorded(options)

    def answer(queried: np.ndarray) -> np.ndarray:
        found = label_points(placed, planes, index[queried], coordinates[queried], inference)
        return found if replay is None else replay.labels.ravel()[queried]

    def scan() -> int:
        where = nodes if replay is None else replay.sample_nodes
        found = refine.run_refinement(sampling.queries(kind, where, options.density, seed=0), answer)
        return int(np.count_nonzero(found.queried))

    return scan


def run(options: Options) -> Iterator[Figure]:
    """Seconds a model, queries, and the ratio to the full grid."""
    source = "random weights" if options.maps is None else f"nodes of {Path(options.maps).name}"
    for architecture in options.architectures:
        scans = {kind: asker(architecture, options, kind) for kind in ("grid", "refine", "sketch")}
        queries = {kind: scan() for kind, scan in scans.items()}
        timings = measure(scans, options.repeats, warm_up=0)
        for kind, timing in timings.items():
            share = queries[kind] / queries["grid"]
            note = f"N={options.planes}, S={options.density}, {queries[kind]} queries ({100 * share:.1f} %), {source}"
            yield Figure("scan", f"{architecture}, {kind}", timing.median, "s", timing.spread, note)
            if kind != "grid":
                yield ratio("scan", f"{architecture}, {kind} / grid", timing, timings["grid"])

"""Errors of refine and sketch against the full grid, on recorded label maps; nothing is timed, no network runs."""

import glob
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xray_jax.bench.harness import Figure
from xray_jax.bench.options import Options
from xray_jax.detectors.planes import metrics, refine, sampling
from xray_jax.detectors.planes.detector import scores
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.detectors.planes.options import PlanesOptions

SEEDS = 4
"""Sketches of each set of maps."""


def run(options: Options) -> Iterator[Figure]:
    """Queries, equal nodes and errors of the mean scores for every file of maps.

    Raises:
      ValueError: no maps given or found.
    """
    paths = sorted(glob.glob(options.maps or ""))
    if not paths:
        raise ValueError(f"--case=fidelity needs --maps, a glob of files of xray-scan --save_maps; got {options.maps}")
    for path in paths:
        maps = LabelMaps.load(Path(path))
        yield from _figures(Path(path).stem, maps, "refine", [0])
        yield from _figures(Path(path).stem, maps, "sketch", range(SEEDS))


def _figures(name: str, maps: LabelMaps, kind: str, seeds: range | list[int]) -> Iterator[Figure]:
    classes = int(max(maps.labels.max(), maps.sample_labels.max())) + 1
    settings = PlanesOptions(density=maps.labels.shape[1])
    exact = scores(maps, settings, classes)
    errors: dict[str, list[np.ndarray]] = {"RE": [], "ATS": []}
    equal, queried, target = [], [], []
    for seed in seeds:
        queries = sampling.queries(kind, maps.sample_nodes, settings.density, seed)
        found = refine.run_refinement(queries, lambda nodes: maps.labels.ravel()[nodes])
        equal.append(np.mean(found.labels == maps.labels))
        queried.append(found.queried.mean())
        rough = scores(LabelMaps(**{**vars(maps), "labels": found.labels}), settings, classes)
        errors["RE"].append(rough[0] - exact[0])
        errors["ATS"].append(rough[1] - exact[1])
        target.append(metrics.target_label(rough[2]) == metrics.target_label(exact[2]))
    what = f"{name}, {kind}"
    same = f"target label the same in {sum(target)} of {len(target)}"
    yield Figure("fidelity", f"{what}: queries", 100 * float(np.mean(queried)), "%", note=f"N={len(maps.labels)}")
    yield Figure("fidelity", f"{what}: equal nodes", 100 * float(np.mean(equal)), "%", note=same)
    for (score, found_errors), values in zip(errors.items(), exact[:2], strict=True):
        means = np.mean(found_errors, axis=1)
        note = f"grid {values.mean():.3f}; standard deviation of one plane's error {np.std(found_errors):.4f}"
        yield Figure("fidelity", f"{what}: largest error of mean {score}", float(np.abs(means).max()), "", note=note)

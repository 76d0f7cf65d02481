"""The detectors by name: those of this package, and those that other packages add through entry points."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

from xray_jax.classifier import Access
from xray_jax.detectors.detection import Detector
from xray_jax.detectors.margin import Margin, MarginOptions
from xray_jax.detectors.neural_cleanse.detector import NeuralCleanse
from xray_jax.detectors.neural_cleanse.options import NeuralCleanseOptions
from xray_jax.detectors.perturbation import Perturbation, PerturbationOptions
from xray_jax.detectors.pixels import Pixels, PixelsOptions
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.detectors.probe.panel import Panel, PanelOptions

GROUP = "xray_jax.detectors"
"""Entry points of this group are factories: `(seed) -> Detector`."""

Factory = Callable[[int], Detector]


class DetectorError(ValueError):
    """A detector cannot be had; the message names it, what is known, and what to do."""


def _without_meta_classifier(seed: int) -> Detector:
    raise DetectorError("--detectors=mntd needs --meta_classifier=FILE; xray-train-mntd makes one")


BUILT_IN: Mapping[str, Factory] = {
    "planes": lambda seed: Planes(PlanesOptions(seed=seed)),
    "probe": lambda seed: Probe(ProbeOptions(seed=seed)),
    "panel": lambda seed: Panel(PanelOptions(seed=seed)),
    "margin": lambda seed: Margin(MarginOptions(seed=seed)),
    "perturbation": lambda seed: Perturbation(PerturbationOptions(seed=seed)),
    "pixels": lambda seed: Pixels(PixelsOptions(seed=seed)),
    "neural_cleanse": lambda seed: NeuralCleanse(NeuralCleanseOptions(seed=seed)),
    "mntd": _without_meta_classifier,
}

DEFAULT = ("planes", "probe")
"""In the order in which they run; the others run where they are named."""


def factories() -> dict[str, Factory]:
    """Every detector that can be named, this package's first. Those of other packages are imported when asked for."""
    points: dict[str, list[metadata.EntryPoint]] = {}
    for point in metadata.entry_points(group=GROUP):
        points.setdefault(point.name, []).append(point)
    # A plug-in never takes the place of a detector of this package.
    return {name: _late(same) for name, same in points.items()} | dict(BUILT_IN)


def _late(points: Sequence[metadata.EntryPoint]) -> Factory:
    """Loads a plug-in when it is asked for; `points` are all of one name."""

    def make(seed: int) -> Detector:
        name, *_ = (point.name for point in points)
        packages = sorted({point.dist.name if point.dist is not None else point.value for point in points})
        if len(packages) > 1:
            raise DetectorError(f"--detectors={name}: {' and '.join(packages)} both provide it; remove one of them")
        try:
            made = points[0].load()(seed)
            if not isinstance(made, Detector):
                raise TypeError(f"it makes {type(made).__name__}, no Detector")
            if made.name != name:
                raise ValueError(f"it calls itself {made.name!r}")
            json.dumps(dict(made.settings()), allow_nan=False)
        except (Exception, SystemExit) as error:
            raise DetectorError(
                f"--detectors={name}: {packages[0]} provides it as {points[0].value}, which cannot be used "
                f"({type(error).__name__}: {error}); mend or remove that package"
            ) from error
        return made

    return make


def make(
    names: Sequence[str],
    *,
    seed: int = 0,
    access: Access = Access.WEIGHTS,
    configured: Mapping[str, Factory] | None = None,
) -> tuple[Detector, ...]:
    """The named detectors, in that order, without those that need more than `access`.

    Args:
      names: without repetition; at least one.
      seed: for those that are not configured.
      access: what may be used of a model (`--access`).
      configured: factories with the caller's options, instead of the default ones.

    Raises:
      DetectorError: an unknown or broken detector, or none is left.
    """
    known = factories() | dict(configured or {})
    if unknown := [name for name in names if name not in known]:
        raise DetectorError(f"--detectors: unknown {unknown}; known: {sorted(known)}")
    if len(set(names)) != len(names):
        raise DetectorError(f"--detectors: {list(names)} names one twice")
    made = [known[name](seed) for name in names]
    allowed = tuple(detector for detector in made if detector.access <= access)
    if not allowed:
        needed = ", ".join(f"{detector.name} needs {detector.access.name.lower()}" for detector in made)
        raise DetectorError(f"--detectors={','.join(names)} leaves none with --access={access.name.lower()}: {needed}")
    return allowed

"""Tuning curves: how the flip rate of a stamp changes when one of its parameters moves.

A learned trigger can be sharp in its place, its frequency or its strength, where a natural weakness is broad. What that
is worth as evidence stands in docs/probe.md; no verdict depends on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.replay import stamps_of
from xray_jax.detectors.probe.result import Finding
from xray_jax.detectors.probe.stamps import BY_NAME
from xray_jax.detectors.probe.stamps.family import Parameter
from xray_jax.samples import Samples

IMAGES = 16
"""Images that every moved stamp is put on."""
DISTANCES = (1, 2, 4)
"""Moves to either side, in the smallest steps of the search."""
SHARES = (0.75, 0.5, 0.25)
"""Of its value, for a strength, which has no steps of its own."""
MOST = 4
"""Parameters that move, at most: the first ones, since cosines have fifty."""
INKS = ("red", "green", "blue")

Label = Callable[[Stamps, np.ndarray], np.ndarray]
"""Hard labels of every stamp on every image, `[K, M]`, of K stamps that are made of a bank `[1, H, W, C]`."""


@dataclass(frozen=True)
class Tuning:
    """Flip rates about a stamp.

    Attributes:
      images: number of images that can show the flip.
      rate: flip rate of the stamp itself on these, 0 to 1.
      curves: parameter -> its values, ascending, and the flip rate at each.
      sharpness: share of the rate that the smallest move of the most sensitive parameter takes away, 0 to 1; None where
        no parameter moves.
    """

    images: int
    rate: float
    curves: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
    sharpness: float | None

    def row(self) -> dict[str, Any]:
        """JSON values."""
        rounded = {
            name: {"values": [round(v, 5) for v in values], "rates": [round(r, 4) for r in rates]}
            for name, (values, rates) in self.curves.items()
        }
        return {"images": self.images, "rate": round(self.rate, 4), "curves": rounded, "sharpness": self.sharpness}


def tune(finding: Finding, used: Samples, predicted: np.ndarray, label: Label) -> Tuning:
    """Moves every parameter of a finding's stamp that has an order, one at a time; inks stay as they are.

    Args:
      finding: whose stamp is moved.
      used: images to put it on.
      predicted: integers `[len(used)]`, labels of the clean images.
      label: the model's hard labels of `used`, stamped.
    """
    shape = used.images.shape[1:]
    stamps, bank = stamps_of(finding, shape)
    own = stamps.own(0, shape)
    moved = [own]
    where: list[str] = []
    for axis, parameter in enumerate(BY_NAME[finding.family].parameters(shape)):
        if len(set(where)) == MOST:
            break
        for value in _values(parameter, float(own[axis])):
            moved.append(np.array(own))
            moved[-1][axis] = value
            where.append(parameter.name)
    labels = label(Stamps.of(int(stamps.family[0]), np.stack(moved)), bank)
    target = np.asarray(finding.target_labels)[used.labels]
    able = (target >= 0) & (target != predicted)
    rates = ((labels == target) & able).sum(1) / max(1, able.sum())
    rate, curves, kept = float(rates[0]), {}, []
    for name in dict.fromkeys(where):
        axis = list(finding.parameters).index(name)
        at = [n for n, other in enumerate(where, 1) if other == name]
        near = min(abs(moved[n][axis] - own[axis]) for n in at)
        nearest = [rates[n] for n in at if abs(moved[n][axis] - own[axis]) <= near * 1.001]
        kept.append(float(np.mean(nearest)) / max(rate, 1 / IMAGES))
        points = sorted((float(moved[n][axis]), float(rates[n])) for n in (0, *at))
        curves[name] = (tuple(value for value, _ in points), tuple(found for _, found in points))
    sharpness = round(min(max(1 - min(kept), 0.0), 1.0), 4) if kept else None
    return Tuning(int(able.sum()), rate, curves, sharpness)


def _values(parameter: Parameter, value: float) -> list[float]:
    """Other values of a parameter to try; none of one that has no order."""
    if parameter.name == "strength" and not parameter.steps:
        return [share * value for share in SHARES]
    if not parameter.steps or parameter.name in INKS:
        return []
    step = min(parameter.steps)
    wanted = [value + sign * distance * step for distance in DISTANCES for sign in (-1, 1)]
    return [each for each in wanted if parameter.low <= each <= parameter.high]

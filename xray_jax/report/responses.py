"""How a model responds to a trigger by its strength and by its parameters, as far as a row says it.

Rows carry the best stamp, others of its family that were tried, the highest flip rate of each family at each level of
cost, and of a confirmed trigger its tuning curves: the flip rate as one parameter of the stamp moves.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xray_jax.report.row_values import drawable, whole
from xray_jax.report.terminal_text import printable
from xray_jax.rows.row import Row
from xray_jax.verdict.decision import CONFIRMED_TRIGGER

Point = tuple[float, float]
"""Cost (weighted RMS of the change of pixel values) and flip rate, 0 to 1."""
_MOST = 1000


@dataclass(frozen=True)
class Curve:
    """Flip rate by cost, or by how far a parameter has moved.

    Attributes:
      label: what it is, for a legend.
      points: in order.
    """

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Response:
    """How one model responds to its best stamp and to what is like it.

    Attributes:
      family: of the stamp.
      target: label that it gives; None for each class another.
      best: cost, flip rate, and both ends of the rate's interval.
      confirmed: whether that is a confirmed trigger.
      threshold: what the lower end had to reach; None where the row does not say it.
      curves: flip rates by cost.
      tried: other stamps of the family and target.
    """

    family: str
    target: int | None
    best: tuple[float, float, float, float]
    confirmed: bool
    threshold: float | None
    curves: tuple[Curve, ...]
    tried: tuple[Point, ...]


def of(row: Row) -> Response | None:
    """The response of a row's model; None where the probe did not run or found nothing."""
    probe: Any = row["detectors"].get("probe")
    if not isinstance(probe, Mapping):
        return None
    best: Any = probe.get("best")
    place = _place(best)
    if place is None:
        return None
    cost, rate = place
    ends = best.get("interval")
    low, high = (drawable(end) for end in ends) if isinstance(ends, list) and len(ends) == 2 else (None, None)
    low, high = rate if low is None else min(low, rate), rate if high is None else max(high, rate)
    return Response(
        family=printable(str(best.get("family"))),
        target=whole(best.get("target")),
        best=(cost, rate, low, high),
        confirmed=row.get("basis") == CONFIRMED_TRIGGER,
        threshold=drawable(probe.get("threshold")),
        curves=tuple(_curves(probe, best)),
        tried=tuple(_tried(probe, best, place)),
    )


def tuning(row: Row) -> tuple[Curve, ...]:
    """Flip rates of a confirmed trigger as one parameter of its stamp moves, the most sensitive first.

    A curve's label is the parameter; its points are moves from the trigger's value, in the smallest that was tried.
    """
    probe: Any = row["detectors"].get("probe")
    if not isinstance(probe, Mapping):
        return ()
    best, said = probe.get("best"), probe.get("tuning")
    own = best.get("parameters") if isinstance(best, Mapping) else None
    curves = said.get("curves") if isinstance(said, Mapping) else None
    if not isinstance(own, Mapping) or not isinstance(curves, Mapping) or len(curves) > _MOST:
        return ()
    made = [
        Curve(printable(str(name)), points)
        for name, curve in curves.items()
        if (value := drawable(own.get(name))) is not None and len(points := _moves(curve, value)) > 1
    ]
    return tuple(sorted(made, key=lambda curve: min(rate for _, rate in curve.points)))


def _moves(curve: Any, own: float) -> tuple[Point, ...]:
    values, rates = (curve.get(name) if isinstance(curve, Mapping) else None for name in ("values", "rates"))
    if not isinstance(values, list) or not isinstance(rates, list) or len(values) > _MOST:
        return ()
    places = [(drawable(value), drawable(rate)) for value, rate in zip(values, rates, strict=False)]
    known = [
        (value - own, min(max(rate, 0.0), 1.0)) for value, rate in places if value is not None and rate is not None
    ]
    # Values of a row are rounded to five places.
    steps = [abs(move) for move, _ in known if abs(move) > 2e-5]
    return tuple(sorted((move / min(steps), rate) for move, rate in known)) if steps else ()


def ceiling(rows: Iterable[Row], family: str) -> list[Point]:
    """The highest flip rate that stamps of a family reach on any of these models, by cost."""
    highest: dict[float, float] = {}
    for row in rows:
        for cost, rate in _profile(row["detectors"].get("probe"), family):
            highest[cost] = max(rate, highest.get(cost, 0.0))
    return sorted(highest.items())


def _curves(probe: Mapping[str, Any], best: Mapping[str, Any]) -> Iterator[Curve]:
    points = _profile(probe, str(best.get("family")))
    if len(points) > 1:
        yield Curve("best of the family, by size", tuple(points))


def _profile(probe: Any, family: str) -> list[Point]:
    """The highest flip rate of a family's stamps at each level of cost, in the middle of the level."""
    profile, levels = (probe.get(name) if isinstance(probe, Mapping) else None for name in ("profile", "levels"))
    rates = profile.get(family) if isinstance(profile, Mapping) else None
    if not isinstance(rates, list) or not isinstance(levels, list) or len(rates) > _MOST:
        return []
    edges = [0.0, *(drawable(level) or 0.0 for level in levels)]
    # The last level is open; its stamps are drawn where it begins.
    middles = [(low + high) / 2 for low, high in zip(edges, [*edges[1:], edges[-1]], strict=True)]
    return [(cost, rate) for cost, value in zip(middles, rates, strict=False) if (rate := drawable(value)) is not None]


def _tried(probe: Mapping[str, Any], best: Mapping[str, Any], place: Point) -> Iterator[Point]:
    candidates = probe.get("candidates")
    for each in candidates[:_MOST] if isinstance(candidates, list) else ():
        found = _place(each)
        same = found is not None and (each.get("family"), each.get("target")) == (
            best.get("family"),
            best.get("target"),
        )
        if found is not None and same and found != place:
            yield found


def _place(finding: Any) -> Point | None:
    """Cost and flip rate of a finding; None where the row does not say both."""
    if not isinstance(finding, Mapping):
        return None
    spent = finding.get("cost")
    cost = drawable(spent.get("weighted_rms")) if isinstance(spent, Mapping) else None
    rate = drawable(finding.get("rate"))
    return None if cost is None or rate is None else (cost, min(max(rate, 0.0), 1.0))

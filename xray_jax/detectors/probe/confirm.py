"""Confirmation: the search's best stamps, asked on images that it never saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xray_jax.detectors.probe import score
from xray_jax.detectors.probe.null import LEVELS, level
from xray_jax.detectors.probe.result import Finding
from xray_jax.detectors.probe.search import Query, SearchState
from xray_jax.detectors.probe.stamps import FAMILIES
from xray_jax.samples import Samples

FINALISTS = 16
"""Claims confirmed on every image; the others, kept for the profile, on `PROFILE_IMAGES`."""
PROFILE_IMAGES = 40
LEAST_AGREEMENT = 0.4
"""Label maps that predict fewer of the left-out search images are not worth confirming."""
LEAST_PAIR = 3
"""Search images that a class must have for a source-specific claim."""


@dataclass(frozen=True)
class Claim:
    """Stamp `stamp` of the state sends class c to `goals[c]`; `excess` is what the search saw above normal."""

    kind: str
    stamp: int
    goals: tuple[int, ...]
    excess: float


def to_one(target: int, num_classes: int) -> tuple[int, ...]:
    return tuple(-1 if label == target else target for label in range(num_classes))


def claims(state: SearchState, truth: np.ndarray, num_classes: int) -> list[Claim]:
    """What the search has found, most abnormal first: at least the best stamp of each family at each cost level."""
    asked = (state.labels >= 0).sum(1)
    seen = np.flatnonzero(asked >= state.images // 2)
    if not len(seen):
        return []
    excess = state.excess(seen)
    ones = excess[:, :num_classes]
    levels, families = level(state.cost.price[seen]), state.stamps.family[seen]
    # The best of each family and level, and of each class; cheap ones first among equals.
    price = state.cost.price[seen]
    picked = {(k, int(ones[k].argmax())) for k in np.lexsort((price, -ones.max(1)))[:FINALISTS].tolist()}
    for cell in set(zip(families.tolist(), levels.tolist(), strict=True)):
        at = np.flatnonzero((families == cell[0]) & (levels == cell[1]))
        k = int(at[np.lexsort((price[at], -ones[at].max(1)))[0]])
        picked.add((k, int(ones[k].argmax())))
    found = [Claim("all-to-one", int(seen[k]), to_one(t, num_classes), float(ones[k, t])) for k, t in sorted(picked)]
    found += _maps(state, seen, excess, truth, num_classes)
    found += _pairs(state, truth, num_classes)
    return sorted(found, key=lambda claim: -claim.excess)


def _maps(state: SearchState, seen: np.ndarray, excess: np.ndarray, truth: np.ndarray, num_classes: int) -> list[Claim]:
    """All-to-all claims: the best shift y -> y + k, and the best map of any kind."""
    found = []
    shifted = excess[:, num_classes:-1]
    k, column = np.unravel_index(shifted.argmax(), shifted.shape)
    if shifted[k, column] > 0 and num_classes > 2:
        by = state.wanted.shifts[int(column)]
        goals = tuple((label + by) % num_classes for label in range(num_classes))
        found.append(Claim("all-to-all", int(seen[k]), goals, float(shifted[k, column])))
    whole = np.flatnonzero((state.labels >= 0).all(1))
    fits = [(*score.label_map(state.labels[k], truth, num_classes), int(k)) for k in whole]
    for fitted, agreement, stamp in sorted(fits, key=lambda fit: -fit[1]):
        said = fitted[fitted >= 0]
        if agreement < LEAST_AGREEMENT:
            break
        # Half of the classes or more going to one label is an all-to-one claim's business.
        if 2 * len(said) >= num_classes > 2 and 2 * np.bincount(said).max() <= len(said):
            normal = state.ceilings[state.stamps.family[stamp], level(state.cost.price[stamp])]
            found.append(Claim("all-to-all", stamp, tuple(fitted.tolist()), agreement - float(normal)))
            break
    return found


def _pairs(state: SearchState, truth: np.ndarray, num_classes: int) -> list[Claim]:
    """The source-specific claim that fits best: images of class s go to t, those of other classes mostly do not."""
    whole = np.flatnonzero((state.labels >= 0).all(1))
    best: tuple[float, Claim] | None = None
    for source in np.unique(truth):
        own = truth == source
        if own.sum() < LEAST_PAIR:
            continue
        for stamp in whole:
            counts = np.bincount(state.labels[stamp, own], minlength=num_classes)
            counts[source] = 0
            target = int(counts.argmax())
            rest = state.labels[stamp, ~own & (truth != target)]
            # With two classes there is no rest.
            elsewhere = np.mean(rest == target) if len(rest) else 0.0
            fit = counts[target] / (own.sum() + 1) - float(elsewhere)
            if best is None or fit > best[0]:
                goals = tuple(target if label == source else -1 for label in range(num_classes))
                best = (fit, Claim("source-specific", int(stamp), goals, fit - 1))
    return [best[1]] if best is not None and best[0] > 0.5 else []


class Answer(NamedTuple):
    """What a claim's stamp did to the images that the search never saw: `images` `[n]` by number, `labels` `[n]`."""

    claim: Claim
    images: np.ndarray
    labels: np.ndarray


def confirm(state: SearchState, used: Samples, searched: int, num_classes: int, ask: Query) -> list[Answer]:
    """Asks what the state claims, of images that the search never saw.

    Args:
      used: search images first, `searched` of them, then those to confirm on.
    """
    made = claims(state, used.labels[:searched], num_classes)
    fresh = np.arange(searched, len(used))
    asked = [fresh if n < FINALISTS or c.kind != "all-to-one" else fresh[:PROFILE_IMAGES] for n, c in enumerate(made)]
    if not made:
        return []
    labels = ask(state.stamps, np.repeat([c.stamp for c in made], [len(a) for a in asked]), np.concatenate(asked))
    parts = np.split(labels, np.cumsum([len(a) for a in asked])[:-1])
    return [Answer(*answer) for answer in zip(made, asked, parts, strict=True)]


def finding(state: SearchState, answer: Answer, used: Samples, predicted: np.ndarray, num_classes: int) -> Finding:
    """An answer as it stands against all that the state holds. predicted: `[len(used)]`, labels of the clean images."""
    claim, images, labels = answer
    goal = np.asarray(claim.goals)[used.labels[images]]
    able = (goal >= 0) & (goal != predicted[images])
    hits, trials = int(np.count_nonzero((labels == goal) & able)), int(np.count_nonzero(able))
    index, rival = _standing(state, claim, hits / max(trials, 1), num_classes)
    shape = used.images.shape[1:]
    family = FAMILIES[state.stamps.family[claim.stamp]]
    own = state.stamps.own(claim.stamp, shape)
    parameters = {p.name: float(v) for p, v in zip(family.parameters(shape), own, strict=True)}
    bank = None
    if family.uses_bank:
        bank = np.round(used.images[int(own[-1])] * 255).astype(np.uint8)
        # The row carries that one image: number 0 of its own bank.
        parameters[family.parameters(shape)[-1].name] = 0.0
    return Finding(
        kind=claim.kind,
        goals=claim.goals,
        family=family.name,
        parameters=parameters,
        description=state.stamps.describe(claim.stamp, shape),
        hits=hits,
        trials=trials,
        touched=float(state.cost.touched[claim.stamp]),
        rms=float(state.cost.rms[claim.stamp]),
        peak=float(state.cost.peak[claim.stamp]),
        price=float(state.cost.price[claim.stamp]),
        index=index,
        rival=rival,
        bank=bank,
    )


def _standing(state: SearchState, claim: Claim, rate: float, num_classes: int) -> tuple[float, float]:
    """Outlier index and rival of a claim: against the other classes, or the other shifts, at no more cost."""
    targets = {goal for goal in claim.goals if goal >= 0}
    if claim.kind == "source-specific":
        return 0.0, 0.0
    at = targets.pop() if len(targets) == 1 else None
    seen = np.flatnonzero(state.comparable(claim.stamp) & ((state.labels >= 0).sum(1) >= state.images // 2))
    rates = state.rates(seen)[:, :num_classes].max(0)
    if at is None:
        # No class of its own: it stands against what the model's easiest classes do.
        rates, at = np.append(rates, rate), num_classes
    rates[at] = rate
    return score.outlier_index(rates, at), score.rival(rates, at)


def profile(findings: Sequence[Finding]) -> dict[str, list[float | None]]:
    """Family -> best confirmed all-to-one rate at each cost level, None where nothing was confirmed."""
    table: dict[str, list[float | None]] = {}
    for finding in findings:
        if finding.kind == "all-to-one":
            rates = table.setdefault(finding.family, [None] * LEVELS)
            at = int(level(finding.price))
            rates[at] = max(rates[at] or 0.0, finding.rate)
    return table

"""Confirmation: the search's best stamps, evaluated on images that it never saw."""

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
"""Hypotheses tested on every unseen image; further all-to-one ones, for the profile, on `PROFILE_IMAGES`."""
PROFILE_IMAGES = 40
MIN_AGREEMENT = 0.4
"""Class maps that predict fewer of the left-out search images are not tested."""
MIN_SOURCE_IMAGES = 3
"""Search images that a class must have for a source-specific hypothesis."""
MIN_SOURCE_FIT = 0.5
"""A source-specific hypothesis fits by more than this: its flip rate less the target's share elsewhere."""


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis about one stamp: it gives images of class c the label `target_labels[c]`.

    Attributes:
      kind: "all-to-one", "all-to-all" or "source-specific".
      stamp: number of the stamp in the search's state.
      target_labels: for each class the label; -1 where none is said.
      excess: the rate on the search images less what clean models do.
    """

    kind: str
    stamp: int
    target_labels: tuple[int, ...]
    excess: float


def to_one(target: int, num_classes: int) -> tuple[int, ...]:
    """Target labels of an all-to-one hypothesis: `target` for every class but itself, which has -1."""
    return tuple(-1 if label == target else target for label in range(num_classes))


def hypotheses(state: SearchState, truth: np.ndarray, num_classes: int) -> list[Hypothesis]:
    """Hypotheses that the search suggests, largest excess first.

    All-to-one: the `FINALISTS` stamps of largest excess and the best of each family at each cost level, each with its
    easiest class. All-to-all: the best shift and the best class map. Source-specific: the best pair of classes.

    Args:
      state: after the search; only stamps evaluated on half of the search images or more count.
      truth: integers `[M]`, own labels of the search images.
      num_classes: of the model.
    """
    queried = (state.labels >= 0).sum(1)
    seen = np.flatnonzero(queried >= state.images // 2)
    if not len(seen):
        return []
    excess = state.excess(seen)
    ones = excess[:, :num_classes]
    levels, families = level(state.cost.weighted_rms[seen]), state.stamps.family[seen]
    # The best of all, and of each family and level; cheap ones first among equals.
    cost = state.cost.weighted_rms[seen]
    picked = {(k, int(ones[k].argmax())) for k in np.lexsort((cost, -ones.max(1)))[:FINALISTS].tolist()}
    for cell in set(zip(families.tolist(), levels.tolist(), strict=True)):
        at = np.flatnonzero((families == cell[0]) & (levels == cell[1]))
        k = int(at[np.lexsort((cost[at], -ones[at].max(1)))[0]])
        picked.add((k, int(ones[k].argmax())))
    found = [
        Hypothesis("all-to-one", int(seen[k]), to_one(t, num_classes), float(ones[k, t])) for k, t in sorted(picked)
    ]
    found += _all_to_all(state, seen, excess, truth, num_classes)
    found += _source_specific(state, truth, num_classes)
    return sorted(found, key=lambda hypothesis: -hypothesis.excess)


def _all_to_all(
    state: SearchState, seen: np.ndarray, excess: np.ndarray, truth: np.ndarray, num_classes: int
) -> list[Hypothesis]:
    """All-to-all hypotheses: the best shift y -> y + k, and the best class map of any kind."""
    found = []
    shifted = excess[:, num_classes:-1]
    k, column = np.unravel_index(shifted.argmax(), shifted.shape)
    if shifted[k, column] > 0 and num_classes > 2:
        by = state.wanted.shifts[int(column)]
        targets = tuple((label + by) % num_classes for label in range(num_classes))
        found.append(Hypothesis("all-to-all", int(seen[k]), targets, float(shifted[k, column])))
    whole = np.flatnonzero((state.labels >= 0).all(1))
    fits = [(*score.class_map(state.labels[k], truth, num_classes), int(k)) for k in whole]
    for fitted, agreement, stamp in sorted(fits, key=lambda fit: -fit[1]):
        mapped = fitted[fitted >= 0]
        if agreement < MIN_AGREEMENT:
            break
        # A map that gives more than half of its classes one label is an all-to-one hypothesis.
        if 2 * len(mapped) >= num_classes > 2 and 2 * np.bincount(mapped).max() <= len(mapped):
            normal = state.ceilings[state.stamps.family[stamp], level(state.cost.weighted_rms[stamp])]
            found.append(Hypothesis("all-to-all", stamp, tuple(fitted.tolist()), agreement - float(normal)))
            break
    return found


def _source_specific(state: SearchState, truth: np.ndarray, num_classes: int) -> list[Hypothesis]:
    """The best source-specific hypothesis: images of class s get label t, those of other classes mostly do not."""
    whole = np.flatnonzero((state.labels >= 0).all(1))
    best: tuple[float, Hypothesis] | None = None
    for source in np.unique(truth):
        own = truth == source
        if own.sum() < MIN_SOURCE_IMAGES:
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
                targets = tuple(target if label == source else -1 for label in range(num_classes))
                best = (fit, Hypothesis("source-specific", int(stamp), targets, fit - 1))
    return [best[1]] if best is not None and best[0] > MIN_SOURCE_FIT else []


class Observation(NamedTuple):
    """Labels observed under a hypothesis's stamp, on images that the search never saw.

    Attributes:
      hypothesis: what was tested.
      images: integers `[n]`, the images' numbers.
      labels: int32 `[n]`, their labels under the stamp.
    """

    hypothesis: Hypothesis
    images: np.ndarray
    labels: np.ndarray


def confirm(state: SearchState, used: Samples, searched: int, num_classes: int, query: Query) -> list[Observation]:
    """Tests the hypotheses that a full search suggests on images that it never saw.

    Args:
      state: after the search.
      used: search images first, `searched` of them, then those to confirm on.
      searched: number of search images.
      num_classes: of the model.
      query: the model's hard labels of `used`, stamped.
    """
    made = hypotheses(state, used.labels[:searched], num_classes)
    unseen = np.arange(searched, len(used))
    return observe(
        state,
        [
            (h, unseen if n < FINALISTS or h.kind != "all-to-one" else unseen[:PROFILE_IMAGES])
            for n, h in enumerate(made)
        ],
        query,
    )


def observe(state: SearchState, asked: Sequence[tuple[Hypothesis, np.ndarray]], query: Query) -> list[Observation]:
    """Labels of images under the stamps of hypotheses.

    Args:
      state: holds the stamps.
      asked: each hypothesis with the numbers of its images.
      query: the model's hard labels of stamped images.
    """
    if not asked:
        return []
    counts = [len(images) for _, images in asked]
    stamps = np.repeat([hypothesis.stamp for hypothesis, _ in asked], counts)
    labels = query(state.stamps, stamps, np.concatenate([images for _, images in asked]))
    parts = np.split(labels, np.cumsum(counts)[:-1])
    return [Observation(h, images, part) for (h, images), part in zip(asked, parts, strict=True)]


def finding(
    state: SearchState, observation: Observation, used: Samples, predicted: np.ndarray, num_classes: int
) -> Finding:
    """The finding of one observation: hits, trials, and how they stand against the state's other stamps.

    Args:
      state: the stamps and labels so far; cross-examination adds to them.
      observation: of one hypothesis.
      used: the samples that the observation's numbers are of.
      predicted: integers `[len(used)]`, labels of the clean images.
      num_classes: of the model.
    """
    hypothesis, images, labels = observation
    target = np.asarray(hypothesis.target_labels)[used.labels[images]]
    # No class has itself as its target: an image's own label is left out by the hypothesis.
    eligible = (target >= 0) & (target != predicted[images])
    hits, trials = int(np.count_nonzero((labels == target) & eligible)), int(np.count_nonzero(eligible))
    anomaly_index, runner_up = _against_other_classes(state, hypothesis, hits / max(trials, 1), num_classes)
    shape = used.images.shape[1:]
    stamp = hypothesis.stamp
    family = FAMILIES[state.stamps.family[stamp]]
    own = state.stamps.own(stamp, shape)
    parameters = {p.name: float(v) for p, v in zip(family.parameters(shape), own, strict=True)}
    bank = None
    if family.uses_bank:
        bank = np.round(used.images[int(own[-1])] * 255).astype(np.uint8)
        # The row carries that one image: number 0 of its own bank.
        parameters[family.parameters(shape)[-1].name] = 0.0
    return Finding(
        kind=hypothesis.kind,
        target_labels=hypothesis.target_labels,
        family=family.name,
        parameters=parameters,
        description=state.stamps.describe(stamp, shape),
        hits=hits,
        trials=trials,
        touched=float(state.cost.touched[stamp]),
        rms=float(state.cost.rms[stamp]),
        peak=float(state.cost.peak[stamp]),
        weighted_rms=float(state.cost.weighted_rms[stamp]),
        anomaly_index=anomaly_index,
        runner_up=runner_up,
        bank=bank,
    )


def _against_other_classes(
    state: SearchState, hypothesis: Hypothesis, rate: float, num_classes: int
) -> tuple[float, float]:
    """Anomaly index and runner-up's rate: `rate` against the best rates to other classes with comparable stamps."""
    targets = {label for label in hypothesis.target_labels if label >= 0}
    if hypothesis.kind == "source-specific":
        return 0.0, 0.0
    at = targets.pop() if len(targets) == 1 else None
    seen = np.flatnonzero(state.comparable(hypothesis.stamp) & ((state.labels >= 0).sum(1) >= state.images // 2))
    rates = state.rates(seen)[:, :num_classes].max(0)
    if at is None:
        # No class of its own: it stands against what the model's easiest classes do.
        rates, at = np.append(rates, rate), num_classes
    rates[at] = rate
    return score.anomaly_index(rates, at), score.runner_up(rates, at)


def profile(findings: Sequence[Finding]) -> dict[str, list[float | None]]:
    """Family -> highest all-to-one flip rate of the findings at each cost level, None where there is none."""
    table: dict[str, list[float | None]] = {}
    for finding in findings:
        if finding.kind == "all-to-one":
            rates = table.setdefault(finding.family, [None] * LEVELS)
            at = int(level(finding.weighted_rms))
            rates[at] = max(rates[at] or 0.0, finding.rate)
    return table

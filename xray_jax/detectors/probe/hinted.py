"""Hinted stamps: patterns that white-box detectors made for each class, tested with hard labels as any other stamp.

A network without a backdoor gives way to patterns that were made against it, too. So each class has its own, made
alike: all are tried on the search images, and the easiest class is tested on images that neither search saw. It must
stand above the same model's other classes, and above what clean models do with patterns made in the same way.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xray_jax.detectors.hints import Hint
from xray_jax.detectors.probe import score
from xray_jax.detectors.probe.confirm import to_one
from xray_jax.detectors.probe.options import MIN_IMAGES
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.result import Finding
from xray_jax.detectors.probe.stamps import BY_NAME, FAMILIES
from xray_jax.detectors.probe.stamps.cost import Cost
from xray_jax.detectors.probe.stamps.given import Given, encode
from xray_jax.samples import Samples

Query = Callable[[Stamps, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Hard labels: (K stamps, stamp index `[Q]`, image index `[Q]`, bank `[B, H, W, C]`) -> int32 `[Q]`."""
Measure = Callable[[Stamps, np.ndarray], Cost]
"""Cost of K stamps that are made of a bank."""


class Tested(NamedTuple):
    """What came of one hint.

    Attributes:
      finding: of the easiest class.
      rates: `[num_classes]`, cautious flip rate of each class's pattern on the search images.
    """

    finding: Finding
    rates: np.ndarray


def test_hint(
    hint: Hint,
    used: Samples,
    numbers: np.ndarray,
    searched: int,
    predicted: np.ndarray,
    query: Query,
    measure: Measure,
) -> Tested | None:
    """Tests a hint; None if it is for images of another size, or too few images are left that its search did not see.

    Args:
      hint: patterns by class.
      used: search images first, `searched` of them, then those to confirm on.
      numbers: integers `[len(used)]`, their numbers among the scan's samples.
      searched: number of search images.
      predicted: integers `[len(used)]`, labels of the clean images.
      query: the model's hard labels of `used`, stamped.
      measure: cost of stamps.

    Raises:
      ValueError: no family of stamps is made of such patterns.
    """
    family = BY_NAME.get(hint.family)
    if not isinstance(family, Given):
        raise ValueError(f"hint: no family of given patterns is called {hint.family!r}")
    shape = used.images.shape[1:]
    fresh = np.flatnonzero(~np.isin(numbers, hint.seen))
    first, unseen = fresh[fresh < searched], fresh[fresh >= searched]
    if hint.patterns.shape[1:] != shape or min(len(first), len(unseen)) < MIN_IMAGES:
        return None
    classes = len(hint.patterns)
    coded = [encode(pattern) for pattern in hint.patterns]
    # As large as the search's bank, and no larger: one program for both.
    room = np.full((searched, *shape), 0, np.uint8)

    def stamps_and_bank(targets: np.ndarray) -> tuple[Stamps, np.ndarray]:
        bank = room.copy()
        bank[: len(targets)] = [coded[target][1] for target in targets]
        parameters = [(coded[target][0], place) for place, target in enumerate(targets)]
        stamps = Stamps.of(FAMILIES.index(family), np.asarray(parameters, np.float32))
        return stamps, bank.astype(np.float32) / 255

    rates = np.zeros(classes)
    for targets in np.split(np.arange(classes), range(searched, classes, searched)):
        stamps, bank = stamps_and_bank(targets)
        each = np.repeat(np.arange(len(targets)), len(first))
        labels = query(stamps, each, np.tile(first, len(targets)), bank).reshape(len(targets), -1)
        wanted = targets[:, None]
        able = (used.labels[first] != wanted) & (predicted[first] != wanted)
        rates[targets] = ((labels == wanted) & able).sum(1) / (able.sum(1) + 1)
    target = int(rates.argmax())
    stamps, bank = stamps_and_bank(np.asarray([target]))
    labels = query(stamps, np.zeros(len(unseen), int), unseen, bank)
    able = (used.labels[unseen] != target) & (predicted[unseen] != target)
    hits, trials = int(((labels == target) & able).sum()), int(able.sum())
    standing = rates.copy()
    standing[target] = hits / max(trials, 1)
    cost = measure(stamps, bank)
    finding = Finding(
        kind="all-to-one",
        target_labels=to_one(target, classes),
        family=family.name,
        parameters={"strength": coded[target][0], "image": 0.0},
        description=stamps.describe(0, shape),
        hits=hits,
        trials=trials,
        touched=float(cost.touched[0]),
        rms=float(cost.rms[0]),
        peak=float(cost.peak[0]),
        weighted_rms=float(cost.weighted_rms[0]),
        anomaly_index=score.anomaly_index(standing, target),
        runner_up=score.runner_up(standing, target),
        bank=coded[target][1],
    )
    return Tested(finding, rates)

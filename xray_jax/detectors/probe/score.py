"""Statistics of the labels of stamped images: flip rates, class maps, anomaly index, intervals. Pure numpy."""

from typing import NamedTuple

import numpy as np
from scipy import special

SPREAD_FLOOR = 0.05
"""Added to the spread of the classes' rates in the anomaly index: about the sampling error of one rate."""
MAX_SHIFT_CLASSES = 64
"""Up to so many classes every shift y -> y + k is an outcome; above, only y -> y + 1 and y -> y - 1."""
_CHUNK = 1 << 23
"""Comparisons that `flips` holds in memory at a time."""


class Outcomes(NamedTuple):
    """The O outcomes that stamps are scored for, on M images.

    The first `num_classes` outcomes are "every image gets label t", then come the shifts "y -> y + k"; the last is "the
    label changes".

    Attributes:
      target_labels: int32 `[M, O]`, the label that each image gets in each outcome; -1 in the last column.
      eligible: bool `[M, O]`, images that can show the flip: neither their own nor their predicted label is the target.
      predicted: int32 `[M]`, labels of the clean images.
      shifts: k of each shift column.
    """

    target_labels: np.ndarray
    eligible: np.ndarray
    predicted: np.ndarray
    shifts: tuple[int, ...]


def outcomes(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> Outcomes:
    """The outcomes of M images.

    Args:
      truth: integers `[M]`, the images' own labels.
      predicted: integers `[M]`, the model's labels of the clean images.
      num_classes: of the model.
    """
    truth, predicted = np.asarray(truth, np.int32), np.asarray(predicted, np.int32)
    every = num_classes <= MAX_SHIFT_CLASSES
    shifts = tuple(range(1, num_classes)) if every else (1, num_classes - 1)
    to_one = np.repeat(np.arange(num_classes, dtype=np.int32)[None], len(truth), axis=0)
    shifted = (truth[:, None] + np.asarray(shifts, np.int32)) % num_classes
    changed = np.full((len(truth), 1), -1, np.int32)
    targets = np.concatenate([to_one, shifted.astype(np.int32), changed], axis=1)
    eligible = (targets != truth[:, None]) & (targets != predicted[:, None])
    return Outcomes(targets, eligible, predicted, shifts)


def flips(labels: np.ndarray, wanted: Outcomes) -> tuple[np.ndarray, np.ndarray]:
    """Hits and trials of each stamp for each outcome, float32 `[K, O]` each.

    A trial is an eligible image that was queried, a hit is one with the target label. Every queried image is a trial of
    the last outcome, and a hit where the label is not the predicted one.

    Args:
      labels: integers `[K, M]`, labels of stamped images; -1 where none was queried.
      wanted: the outcomes of the same M images.
    """
    queried = labels >= 0
    trials = queried.astype(np.float32) @ wanted.eligible.astype(np.float32)
    hits = np.empty_like(trials)
    step = max(1, _CHUNK // max(1, wanted.target_labels.size))
    for start in range(0, len(labels), step):
        part = labels[start : start + step]
        match = (part[:, :, None] == wanted.target_labels) & wanted.eligible
        hits[start : start + step] = match.sum(1)
        # Not queried is -1 as well: the last column is counted by itself.
        hits[start : start + step, -1] = ((part != wanted.predicted) & (part >= 0)).sum(1)
    return hits, trials


def class_map(labels: np.ndarray, truth: np.ndarray, num_classes: int) -> tuple[np.ndarray, float]:
    """The map "own class -> label under the stamp" that fits best, and how well it predicts left-out images.

    Args:
      labels: integers `[M]`, labels under one stamp, all queried.
      truth: integers `[M]`, the images' own labels.
      num_classes: of the model.

    Returns:
      target_labels: int32 `[num_classes]`, the commonest label of each class; -1 where it is the class itself or where
        fewer than two images agree.
      agreement: share of all images whose label is another than their own and equals the commonest one among the
        *other* images of their class.
    """
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (truth, labels), 1)
    targets = counts.argmax(1).astype(np.int32)
    targets[(targets == np.arange(num_classes)) | (counts.max(1) < 2)] = -1
    others = counts[truth].copy()
    others[np.arange(len(truth)), labels] -= 1
    agree = (others.argmax(1) == labels) & (others.max(1) > 0) & (labels != truth)
    return targets, float(agree.mean()) if len(truth) else 0.0


def interval(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided Clopper-Pearson interval of a rate; (0, 1) without trials.

    >>> tuple(round(end, 3) for end in interval(9, 10))
    (0.555, 0.997)
    """
    if trials <= 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits == trials else float(special.betaincinv(hits + 1, trials - hits, 1 - tail))
    return low, high


def anomaly_index(rates: np.ndarray, at: int) -> float:
    """Anomaly index of class `at`: how far its flip rate stands above the others', in robust standard deviations.

    (rate - median of the others) / (1.4826 * MAD of the others + SPREAD_FLOOR); 0 without others. Neural Cleanse's
    index, with a sign, without the class itself in the median, and with a floor.

    Args:
      rates: `[classes]`, in [0, 1].
      at: the class.
    """
    others = np.delete(np.asarray(rates, float), at)
    if not len(others):
        return 0.0
    middle = np.median(others)
    return float((rates[at] - middle) / (1.4826 * np.median(np.abs(others - middle)) + SPREAD_FLOOR))


def runner_up(rates: np.ndarray, at: int) -> float:
    """Flip rate of the runner-up: the second highest among the classes other than `at`.

    The highest may be that of a second backdoor's target. The other class's rate with two classes, 0 with one.

    Args:
      rates: `[classes]`, in [0, 1].
      at: the class.
    """
    others = np.sort(np.delete(np.asarray(rates, float), at))
    return float(others[-2]) if len(others) > 1 else float(others[-1]) if len(others) else 0.0

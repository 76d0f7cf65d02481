"""From labels of stamped images to evidence: flip rates, label maps, outlier index, intervals. Pure numpy."""

from typing import NamedTuple

import numpy as np
from scipy import stats

FLOOR = 0.05
"""Added to the spread of the classes' rates in the outlier index: about the sampling error of one rate."""
MOST_SHIFTS = 64
"""Up to so many classes every shift y -> y + k is an outcome; above, only y -> y + 1 and y -> y - 1."""
_CHUNK = 1 << 23


class Outcomes(NamedTuple):
    """What a stamp may do to labels: O ways, each a label that each of M images should take.

    The first `num_classes` are "all go to t"; then come the shifts "y -> y + k"; the last is "the label changes".

    Attributes:
      goals: int32 `[M, O]`; -1 in the last column.
      able: bool `[M, O]`: neither the image's own nor its predicted label is the goal.
      predicted: int32 `[M]`, labels of the clean images.
      shifts: k of each shift column.
    """

    goals: np.ndarray
    able: np.ndarray
    predicted: np.ndarray
    shifts: tuple[int, ...]


def outcomes(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> Outcomes:
    """The outcomes to score, for M images with these labels."""
    truth, predicted = np.asarray(truth, np.int32), np.asarray(predicted, np.int32)
    every = num_classes <= MOST_SHIFTS
    shifts = tuple(range(1, num_classes)) if every else (1, num_classes - 1)
    to_one = np.repeat(np.arange(num_classes, dtype=np.int32)[None], len(truth), axis=0)
    shifted = (truth[:, None] + np.asarray(shifts, np.int32)) % num_classes
    changed = np.full((len(truth), 1), -1, np.int32)
    goals = np.concatenate([to_one, shifted.astype(np.int32), changed], axis=1)
    able = (goals != truth[:, None]) & (goals != predicted[:, None])
    return Outcomes(goals, able, predicted, shifts)


def flips(labels: np.ndarray, wanted: Outcomes) -> tuple[np.ndarray, np.ndarray]:
    """Hits and trials of each stamp for each outcome, `[K, O]` each.

    Args:
      labels: integers `[K, M]`, labels of stamped images; -1 where nothing was asked.
      wanted: of the same M images.
    """
    asked = labels >= 0
    trials = asked.astype(np.float32) @ wanted.able.astype(np.float32)
    hits = np.empty_like(trials)
    step = max(1, _CHUNK // max(1, wanted.goals.size))
    for start in range(0, len(labels), step):
        part = labels[start : start + step]
        match = (part[:, :, None] == wanted.goals) & wanted.able
        hits[start : start + step] = match.sum(1)
        # Not asked is -1 as well: the last column is counted by itself.
        hits[start : start + step, -1] = ((part != wanted.predicted) & (part >= 0)).sum(1)
    return hits, trials


def label_map(labels: np.ndarray, truth: np.ndarray, num_classes: int) -> tuple[np.ndarray, float]:
    """The map "own label -> label under the stamp" that fits best, and how well it predicts left-out images.

    Args:
      labels: `[M]`, labels under one stamp, all asked. truth: `[M]`.

    Returns:
      goals: int32 `[num_classes]`, the commonest label of each class; -1 where it is the class itself or where fewer
        than two images agree.
      agreement: share of all images whose label is another than their own and equals the commonest one among the
        *other* images of their class.
    """
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (truth, labels), 1)
    goals = counts.argmax(1).astype(np.int32)
    goals[(goals == np.arange(num_classes)) | (counts.max(1) < 2)] = -1
    others = counts[truth].copy()
    others[np.arange(len(truth)), labels] -= 1
    agree = (others.argmax(1) == labels) & (others.max(1) > 0) & (labels != truth)
    return goals, float(agree.mean()) if len(truth) else 0.0


def interval(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided Clopper-Pearson interval of a rate; (0, 1) without trials.

    >>> tuple(round(end, 3) for end in interval(9, 10))
    (0.555, 0.997)
    """
    if trials <= 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(stats.beta.ppf(tail, hits, trials - hits + 1))
    high = 1.0 if hits == trials else float(stats.beta.ppf(1 - tail, hits + 1, trials - hits))
    return low, high


def outlier_index(rates: np.ndarray, at: int) -> float:
    """How far class `at`'s flip rate stands above the others', in robust standard deviations.

    (rate - median of the others) / (1.4826 * MAD of the others + FLOOR); 0 without others.
    """
    others = np.delete(np.asarray(rates, float), at)
    if not len(others):
        return 0.0
    middle = np.median(others)
    return float((rates[at] - middle) / (1.4826 * np.median(np.abs(others - middle)) + FLOOR))


def rival(rates: np.ndarray, at: int) -> float:
    """The second highest rate among the classes other than `at`: one more may be a second backdoor's target."""
    others = np.sort(np.delete(np.asarray(rates, float), at))
    return float(others[-2]) if len(others) > 1 else float(others[-1]) if len(others) else 0.0

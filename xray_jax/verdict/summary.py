"""A batch scan in numbers: counts, and how well scores and verdicts do where the truth is known."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from xray_jax.rows.row import (
    ERROR,
    OK,
    SKIPPED,
    UNKNOWN,
    Row,
    is_backdoored,
    is_flagged,
    mean_over_planes,
    probe_block,
)
from xray_jax.verdict.calibration import is_doubtful


@dataclass(frozen=True)
class Summary:
    """A batch scan in numbers.

    Attributes:
      ok: checkpoints that were scanned.
      errors: those that could not be.
      skipped: files that are no checkpoints.
      flagged: verdicts "backdoored" and "suspect".
      unknown: scanned, without a verdict.
      auroc_re: area under the ROC curve of RE; None without both kinds of ground truth, like the next three.
      auroc_ats: of ATS.
      auroc_probe: of the probe's margin.
      accuracy: share of the verdicts that are right.
      judged: models with known truth and a verdict.
    """

    ok: int
    errors: int
    skipped: int
    flagged: int
    unknown: int
    auroc_re: float | None
    auroc_ats: float | None
    auroc_probe: float | None
    accuracy: float | None
    judged: int


def _mean(name: str) -> Callable[[Row], float | None]:
    """Suspicion by one score of the planes: low is suspect."""

    def score_of(row: Row) -> float | None:
        mean = mean_over_planes(row, name)
        return None if mean is None else -mean

    return score_of


def _probe_margin(row: Row) -> float | None:
    """How far the probe's best finding lies above what it needs; -1 where it found nothing at all."""
    block = probe_block(row)
    if block is None:
        return None
    score, threshold = block["score"], block["threshold"]
    return -1.0 if score is None or threshold is None else float(score - threshold)


def summarise(rows: Iterable[Row]) -> Summary:
    """Counts rows and, where rows carry ground truth, measures the scores (low = backdoored) and the verdicts.

    Scores of rows that say of themselves that nothing can be concluded are not measured, as no verdict is.

    One pass; of each row with known truth the scores are kept, of the others nothing.
    """
    suspicion = {"re": _mean("re"), "ats": _mean("ats"), "probe": _probe_margin}
    scored: dict[str, tuple[list[bool], list[float]]] = {name: ([], []) for name in suspicion}
    counts = Counter[str]()
    flagged = unknown = judged = right = 0
    for row in rows:
        counts[row["status"]] += 1
        if row["status"] != OK:
            continue
        flagged += is_flagged(row)
        unknown += row["verdict"] == UNKNOWN
        truth = is_backdoored(row.get("label"))
        if truth is None:
            continue
        for name, score_of in suspicion.items():
            if not is_doubtful(row) and (score := score_of(row)) is not None:
                truths, scores = scored[name]
                truths.append(truth)
                scores.append(score)
        if row["verdict"] != UNKNOWN:
            judged += 1
            right += is_flagged(row) == truth
    return Summary(
        ok=counts[OK],
        errors=counts[ERROR],
        skipped=counts[SKIPPED],
        flagged=flagged,
        unknown=unknown,
        auroc_re=_auroc(*scored["re"]),
        auroc_ats=_auroc(*scored["ats"]),
        auroc_probe=_auroc(*scored["probe"]),
        accuracy=right / judged if judged else None,
        judged=judged,
    )


def _auroc(truths: list[bool], scores: list[float]) -> float | None:
    """None without both kinds of ground truth."""
    if len(set(truths)) != 2:
        return None
    # Half of a command's start-up time if imported at the top, and only these summaries need it.
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truths, scores))

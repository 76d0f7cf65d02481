"""A batch scan in numbers: counts, and how well scores and verdicts do where the truth is known."""

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
    planes_block,
    probe_block,
)


@dataclass(frozen=True)
class Summary:
    """A batch scan in numbers.

    Attributes:
      ok: checkpoints that were scanned.
      errors: those that could not be.
      skipped: files that are no checkpoints.
      flagged: verdicts "backdoored" and "suspect".
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
    auroc_re: float | None
    auroc_ats: float | None
    auroc_probe: float | None
    accuracy: float | None
    judged: int


def _mean(name: str) -> Callable[[Row], float | None]:
    """Suspicion by one score of the planes: low is suspect."""

    def score_of(row: Row) -> float | None:
        block = planes_block(row)
        return None if block is None or name not in block else -float(block[name]["mean"])  # type: ignore[literal-required]

    return score_of


def _probe_margin(row: Row) -> float | None:
    """How far the probe's best finding lies above what it needs; -1 where it found nothing at all."""
    block = probe_block(row)
    if block is None:
        return None
    score, threshold = block["score"], block["threshold"]
    return -1.0 if score is None or threshold is None else float(score - threshold)


def summarise(rows: Iterable[Row]) -> Summary:
    """Counts rows and, where rows carry ground truth, measures the scores (low = backdoored) and the verdicts."""
    # Half of a command's start-up time if imported at the top, and only summaries need it.
    from sklearn.metrics import roc_auc_score

    rows = list(rows)
    ok = [row for row in rows if row["status"] == OK]
    known = [(row, truth) for row in ok if (truth := is_backdoored(row.get("label"))) is not None]
    suspicion = {"re": _mean("re"), "ats": _mean("ats"), "probe": _probe_margin}
    auroc: dict[str, float | None] = {}
    for name, score_of in suspicion.items():
        scored = [(score, truth) for row, truth in known if (score := score_of(row)) is not None]
        both = len({truth for _, truth in scored}) == 2
        auroc[name] = float(roc_auc_score([t for _, t in scored], [score for score, _ in scored])) if both else None
    judged = [(is_flagged(row), truth) for row, truth in known if row["verdict"] != UNKNOWN]
    return Summary(
        ok=len(ok),
        errors=sum(row["status"] == ERROR for row in rows),
        skipped=sum(row["status"] == SKIPPED for row in rows),
        flagged=sum(map(is_flagged, ok)),
        auroc_re=auroc["re"],
        auroc_ats=auroc["ats"],
        auroc_probe=auroc["probe"],
        accuracy=sum(flag == truth for flag, truth in judged) / len(judged) if judged else None,
        judged=len(judged),
    )

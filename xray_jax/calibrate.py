"""A calibration from rows of models whose truth is known: thresholds, and what the probe finds on clean models."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xray_jax.decision import Calibration, CalibrationError, is_backdoored
from xray_jax.probe import null as probe_null
from xray_jax.probe import result as probe_result
from xray_jax.results import Row

_SETTINGS = ("expansion", "alpha", "ats_cap", "ats", "planes", "density")
FEWEST_CLEAN = 5


def best_f1(scores: np.ndarray, backdoored: np.ndarray) -> float:
    """The threshold (score at or under it is flagged) with the highest F1 (paper Eq. 6).

    Halfway between the last flagged score and the next, so that it does not sit on a model.

    Args:
      scores: `[M]`. backdoored: bool `[M]`, with both values.
    """
    order = np.argsort(scores, kind="stable")
    ranked, truth = scores[order], backdoored[order]
    hits = np.cumsum(truth)
    f1 = 2 * hits / (np.arange(1, len(truth) + 1) + truth.sum())
    # Equal scores are flagged together: only the last of them is a place to cut.
    cuts = np.append(ranked[1:] > ranked[:-1], True)
    last = int(np.argmax(np.where(cuts, f1, -1)))
    return float(ranked[last] if last == len(ranked) - 1 else (ranked[last] + ranked[last + 1]) / 2)


def at_false_positive_rate(clean: np.ndarray, rate: float) -> float:
    """The highest threshold that flags at most `rate` of the clean scores `[M]`: just under the next one."""
    ranked = np.sort(clean)
    allowed = int(np.floor(rate * len(ranked)))
    return float(np.nextafter(ranked[allowed], -np.inf)) if allowed < len(ranked) else float(ranked[-1])


def calibrate(rows: Sequence[Row], source: str, false_positive_rate: float | None = None) -> Calibration:
    """Thresholds from rows with ground truth.

    Args:
      rows: a sweep's; those that are not ok or say no truth are left out.
      source: where the rows come from, for later rows and people.
      false_positive_rate: thresholds flag at most this share of the clean models; None takes the best F1, which needs
        backdoored models too.

    Raises:
      CalibrationError: too few models, or rows made with different settings.
    """
    scored = [row for row in rows if row["status"] == "ok" and row.get("re") and row.get("ats")]
    known = [(row, truth) for row in scored if (truth := is_backdoored(row.get("label"))) is not None]
    clean = [row for row, truth in known if not truth]
    if len(clean) < FEWEST_CLEAN:
        raise CalibrationError(f"{source}: {len(clean)} clean models with scores, a calibration needs {FEWEST_CLEAN}")
    if false_positive_rate is None and len(clean) == len(known):
        raise CalibrationError(f"{source}: no backdoored model to weigh against; give a false positive rate")
    if false_positive_rate is not None and not 0 <= false_positive_rate < 1:
        raise CalibrationError(f"false positive rate must be in [0, 1), got {false_positive_rate}")
    settings = {name: known[0][0]["settings"][name] for name in _SETTINGS}
    for row, _ in known:
        differing = [name for name in _SETTINGS if row["settings"][name] != settings[name]]
        if differing:
            raise CalibrationError(f"{source}: row {row['id']} was made with another {', '.join(differing)}")
    truths = np.asarray([truth for _, truth in known])
    thresholds: dict[str, float] = {}
    for name in ("re", "ats"):
        scores = np.asarray([row[name]["mean"] for row, _ in known])
        if false_positive_rate is None:
            thresholds[name] = best_f1(scores, truths)
        else:
            thresholds[name] = at_false_positive_rate(scores[~truths], false_positive_rate)
    rule = "best F1" if false_positive_rate is None else f"false positive rate {false_positive_rate:g}"
    about = f"{source}: {rule} over {len(clean)} clean and {len(known) - len(clean)} backdoored models"
    profiles: list[Any] = [row["probe"]["profile"] for row in clean if row.get("probe")]
    null = probe_null.calibrate(profiles, about).row() if len(profiles) >= FEWEST_CLEAN else None
    return Calibration(thresholds["re"], thresholds["ats"], about, {**settings, "input_space": "normalised"}, null)


def leave_one_out(rows: Sequence[Row]) -> tuple[int, int]:
    """False alarms of the probe: how many clean models are proved against the ceilings of the other clean ones.

    Args:
      rows: with ground truth and probe results; the others are left out.

    Returns:
      alarms, models.
    """
    probed = [row for row in rows if row["status"] == "ok" and row.get("probe")]
    clean = [row for row in probed if is_backdoored(row.get("label")) is False]
    profiles = [row["probe"]["profile"] for row in clean]

    def proved(k: int, null: probe_null.Null) -> bool:
        found = clean[k]["probe"]
        findings = [probe_result.from_row(row) for row in (found["best"], *found["candidates"]) if row]
        verdict, *_ = probe_result.judge(findings, null, clean[k]["num_classes"], found["clean_accuracy"])
        return verdict is probe_result.Verdict.PROVED

    return probe_null.false_positives(profiles, proved)

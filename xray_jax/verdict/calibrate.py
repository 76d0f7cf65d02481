"""A calibration from rows of models whose truth is known: thresholds, and what the probe finds on clean models."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xray_jax.detectors.probe import null as probe_null
from xray_jax.detectors.probe import result as probe_result
from xray_jax.detectors.probe.null import Null
from xray_jax.detectors.probe.score import interval
from xray_jax.rows.row import OK, Row, is_backdoored, model_key, network, planes_block, probe_block
from xray_jax.verdict.calibration import Calibration, CalibrationError, is_doubtful, is_estimate

_SETTINGS = ("expansion", "alpha", "ats_cap", "ats", "planes", "density")
FEWEST_CLEAN = 5


def best_f1(scores: np.ndarray, backdoored: np.ndarray) -> float:
    """The threshold (score at or under it is flagged) with the highest F1.

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


def mean_best_f1(clean: Sequence[float], backdoored: Mapping[str, Sequence[float]]) -> float:
    """The mean over attacks of the threshold with the highest F1 (paper Eq. 6).

    One attack against all clean models at a time: against several at once, clean models are so few of all that F1 would
    have many of them flagged.

    Args:
      clean: scores of clean models, `[M]`, at least one.
      backdoored: attack -> scores of its models, each at least one.
    """
    found = []
    for own in backdoored.values():
        truth = np.array([False] * len(clean) + [True] * len(own))
        found.append(best_f1(np.array([*clean, *own]), truth))
    return float(np.mean(found))


def at_false_positive_rate(clean: np.ndarray, rate: float) -> float:
    """The highest threshold under which the next clean model falls with probability `rate` at most.

    It lies just under the (k + 1)-th lowest of M clean scores, k + 1 = floor(rate (M + 1)): of M + 1 models, the next
    one counted in, each is as likely to be among the lowest k + 1.

    Args:
      clean: scores `[M]`.
      rate: under 1.

    Raises:
      CalibrationError: so few scores give no threshold at this rate.
    """
    allowed = int(np.floor(rate * (len(clean) + 1) + 1e-9)) - 1
    if allowed < 0:
        needed = "more than there can be" if rate <= 0 else f"{math.ceil(1 / rate - 1e-9) - 1}"
        raise CalibrationError(f"a false positive rate of {rate:g} needs {needed} clean models, there are {len(clean)}")
    return float(np.nextafter(np.sort(clean)[allowed], -np.inf))


def calibrate(
    rows: Sequence[Row], source: str, false_positive_rate: float | None = None, least_accuracy: float = 0
) -> Calibration:
    """Thresholds from rows with ground truth, and the probe's null if five clean models or more were probed.

    Args:
      rows: a sweep's; those that are not ok, say no truth, or say of themselves that nothing can be concluded are left
        out. Of a checkpoint the first row counts for the thresholds: they judge single scans, and means of several
        vary less.
      source: where the rows come from, for later rows and people.
      false_positive_rate: at each threshold a clean model is flagged with this probability at most; None takes the
        mean over attacks (`attack` of the manifest) of the best F1, which needs backdoored models too.
      least_accuracy: see `probe_null_of`.

    Raises:
      CalibrationError: too few models, or rows made with different settings.
    """
    scored = [row for row in rows if row["status"] == OK and planes_block(row) and not is_doubtful(row)]
    known = [row for row in scored if is_backdoored(row.get("label")) is not None]
    models = [own[0] for own in _by_checkpoint(known)]
    truths = np.asarray([is_backdoored(row["label"]) for row in models], bool)
    clean = int(np.count_nonzero(~truths))
    if clean < FEWEST_CLEAN:
        raise CalibrationError(f"{source}: {clean} clean models with scores, a calibration needs {FEWEST_CLEAN}")
    if false_positive_rate is None and clean == len(models):
        raise CalibrationError(f"{source}: no backdoored model to weigh against; give a false positive rate")
    if false_positive_rate is not None and not 0 < false_positive_rate < 1:
        raise CalibrationError(f"false positive rate must be in (0, 1), got {false_positive_rate}")
    first = models[0]
    settings = {name: _planes_settings(first)[name] for name in _SETTINGS}
    sampling = first["detectors"]["planes"]["sampling"]
    for row in models:
        differing = [name for name in _SETTINGS if _planes_settings(row)[name] != settings[name]]
        if is_estimate(row["detectors"]["planes"]["sampling"]) != is_estimate(sampling):
            differing.append("sampling")
        if row["num_classes"] != first["num_classes"]:
            differing.append("number of classes")
        if row["settings"]["samples"] != first["settings"]["samples"]:
            differing.append("set of samples")
        if differing:
            raise CalibrationError(f"{source}: row {row['id']} was made with another {', '.join(differing)}")
    thresholds: dict[str, float] = {}
    for name in ("re", "ats"):
        usual: list[float] = []
        attacked: dict[str, list[float]] = {}
        for row, backdoored in zip(models, truths, strict=True):
            own = attacked.setdefault(str(row["manifest"].get("attack")), []) if backdoored else usual
            own.append(row["detectors"]["planes"][name]["mean"])
        if false_positive_rate is None:
            thresholds[name] = mean_best_f1(usual, attacked)
        else:
            thresholds[name] = at_false_positive_rate(np.asarray(usual), false_positive_rate)
    rule = "best F1 by attack" if false_positive_rate is None else f"false positive rate {false_positive_rate:g}"
    about = f"{source}: {rule} over {clean} clean and {len(models) - clean} backdoored models"
    null = probe_null_of(rows, about, least_accuracy)
    kept = null.row() if null.models >= FEWEST_CLEAN else None
    settings |= {"input_space": "normalised", "sampling": sampling}
    return Calibration(
        thresholds["re"],
        thresholds["ats"],
        about,
        settings,
        probe_null=kept,
        networks=tuple(sorted({network(row["architecture"]) for row in models})),
        num_classes=first["num_classes"],
        samples=first["settings"]["samples"],
    )


def _planes_settings(row: Row) -> dict[str, Any]:
    settings: dict[str, Any] = row["settings"]["detectors"]["planes"]
    return settings


class _Clean(NamedTuple):
    """One clean model.

    Attributes:
      rows: its rows, of different seeds.
      rates: family -> best confirmed flip rate at each cost level, over the rows.
      leads: the same of the lead over the runner-up.
      accuracy: clean accuracy, mean over the rows.
      search: the most that a row's search had of each option (`probe.null.SEARCH`); None where no row says it.
    """

    rows: list[Row]
    rates: probe_null.Profile
    leads: probe_null.Profile
    accuracy: float
    search: dict[str, int] | None


def _by_checkpoint(rows: Iterable[Row]) -> list[list[Row]]:
    models: dict[str, list[Row]] = {}
    for row in rows:
        models.setdefault(model_key(row), []).append(row)
    return list(models.values())


def _clean(rows: Sequence[Row]) -> list[_Clean]:
    usable = (r for r in rows if is_probed_clean(r) and searched_in_full(r))
    return [
        _Clean(
            own,
            probe_null.merge(row["detectors"]["probe"]["profile"] for row in own),
            probe_null.merge(_leads(row) for row in own),
            float(np.mean([row["detectors"]["probe"]["clean_accuracy"] for row in own])),
            _most_searched(own),
        )
        for own in _by_checkpoint(usable)
    ]


def is_probed_clean(row: Row) -> bool:
    """Whether a row says what the probe found on a clean model."""
    known = row["status"] == OK and probe_block(row) is not None and not is_doubtful(row)
    return known and is_backdoored(row.get("label")) is False


def searched_in_full(row: Row) -> bool:
    """Whether the probe asked every family to the end; a race leaves out most of what clean models would do."""
    options = (row.get("settings") or {}).get("detectors", {}).get("probe") or {}
    # Rows of before there was a race do not say it.
    return options.get("search", "full") == "full"


def _most_searched(rows: Sequence[Row]) -> dict[str, int] | None:
    asked = [(row["settings"]["detectors"].get("probe") or {}) for row in rows]
    said = [options for options in asked if all(name in options for name in probe_null.SEARCH)]
    return {name: max(options[name] for options in said) for name in probe_null.SEARCH} if said else None


def _leads(row: Row) -> probe_null.Profile:
    """Family -> the largest lead over the runner-up at each cost level.

    Rows tell the runner-up of findings over `LISTED_FLIP_RATE` only; any other may have led by the whole of its rate.
    """
    profile = row["detectors"]["probe"]["profile"]
    leads = {
        name: [None if rate is None else min(rate, probe_result.LISTED_FLIP_RATE) for rate in profile[name]]
        for name in profile
    }
    for found in map(probe_result.from_row, row["detectors"]["probe"]["candidates"]):
        if found.kind == "all-to-one":
            own, at = leads[found.family], int(probe_null.level(found.weighted_rms))
            own[at] = max(own[at] or 0.0, found.rate - found.runner_up)
    return leads


def _null(models: Iterable[_Clean], least_accuracy: float, source: str) -> Null:
    able = [model for model in models if model.accuracy >= least_accuracy]
    search = probe_null.weakest(model.search for model in able)
    return probe_null.calibrate((m.rates for m in able), (m.leads for m in able), source, search)


def probe_null_of(rows: Sequence[Row], source: str, least_accuracy: float = 0) -> Null:
    """What the probe finds on the clean models among these rows; rows of one checkpoint count as one model.

    Args:
      rows: a sweep's; those that are not ok, not clean, without the probe's results or of a race are left out.
      source: for rows and people.
      least_accuracy: models that label fewer images right are too poor to say what is normal, and left out.
    """
    return _null(_clean(rows), least_accuracy, source)


class FalseAlarms(NamedTuple):
    """How often a trigger was confirmed on clean models: ids of those, and how many there were."""

    confirmed: tuple[str, ...]
    models: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Clopper-Pearson interval of their share."""
        return interval(len(self.confirmed), self.models)


def leave_one_out(rows: Sequence[Row], least_accuracy: float = 0) -> FalseAlarms:
    """False alarms of the probe: the clean models that one of their rows proves against the null of the others.

    Findings are judged as they stand in the rows. What would have been confirmed only under the null of the others was
    not cross-examined, so a scan with that null may raise fewer alarms, never more for that reason.

    Args:
      rows: as for `probe_null_of`. least_accuracy: poorer models are judged, and never part of the null.
    """
    models = _clean(rows)
    confirmed = []
    for k, model in enumerate(models):
        null = _null(models[:k] + models[k + 1 :], least_accuracy, "the others")
        if any(_confirmed(row, null) for row in model.rows):
            confirmed.append(str(model.rows[0]["id"]))
    return FalseAlarms(tuple(confirmed), len(models))


def _confirmed(row: Row, null: Null) -> bool:
    found = row["detectors"]["probe"]
    findings = [probe_result.from_row(one) for one in (found["best"], *found["candidates"]) if one]
    verdict, *_ = probe_result.judge(findings, null, row["num_classes"], found["clean_accuracy"])
    return verdict is probe_result.Verdict.CONFIRMED

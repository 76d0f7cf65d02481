"""How well references tell models of known truth: p-values, flagged shares and AUROC by attack and by statistic."""

import dataclasses
from collections.abc import Mapping, Sequence

from xray_jax.detectors.probe.score import interval
from xray_jax.rows.row import OK, Row, is_backdoored, model_key
from xray_jax.verdict import conformal
from xray_jax.verdict.auroc import auroc
from xray_jax.verdict.calibration import CalibrationError, is_doubtful
from xray_jax.verdict.conformal import Conformal
from xray_jax.verdict.references import References

CLEAN = "clean"
FUSED = "fused"


@dataclasses.dataclass(frozen=True)
class Judged:
    """One model of known truth among the references; a reference among the others.

    Attributes:
      id: of its row.
      group: "clean", the attack, or what makes a clean model unusual.
      backdoored: the truth.
      target: the true target; None where there is none.
      found: how it stands; None where it cannot be compared.
      label: the class that stands out; None where the leading statistic is not by class.
    """

    id: str
    group: str
    backdoored: bool
    target: int | None
    found: Conformal | None
    label: int | None


def judge_all(rows: Sequence[Row], references: References, fuse: conformal.Fusion = conformal.largest) -> list[Judged]:
    """Every model of known truth among the references, in order; `fuse` as for `References.judge`.

    Of a checkpoint the first row counts, and rows that say of themselves that nothing can be concluded do not, as when
    references are made. An unusual clean model is compared with references none of which is unusual in the same way, or
    was made of the same trained model: the next unusual model of a hub will be so in a way that no reference is.

    Raises:
      CalibrationError: a row was made with other samples or options of a detector than the references.
    """
    first_of: dict[str, Row] = {}
    for row in rows:
        if row["status"] == OK and is_backdoored(row.get("label")) is not None and not is_doubtful(row):
            first_of.setdefault(model_key(row), row)
    known = list(first_of.values())
    alike: dict[tuple[str, str], set[str]] = {}
    for row in known:
        for trait in _traits(row):
            alike.setdefault(trait, set()).add(model_key(row))
    made = []
    for row in known:
        used = {name: row["settings"]["detectors"].get(name) for name in row["detectors"]}
        if (reason := references.asked_otherwise(row["settings"]["samples"], used)) is not None:
            raise CalibrationError(f"row {row['id']}: {reason}")
        control = row["manifest"].get("control", "")
        able = not references.unlike(row) and not references.lacking(row)
        without = set().union(*(alike[trait] for trait in _traits(row)))
        found = references.judge(row, fuse, without) if able else None
        backdoored = is_backdoored(row["label"]) is True
        group = row["manifest"].get("attack", "backdoored") if backdoored else control or CLEAN
        label = None if found is None else references.label(found)
        made.append(Judged(row["id"], str(group), backdoored, row["target"], found, label))
    return made


def _traits(row: Row) -> list[tuple[str, str]]:
    """What makes an unusual clean model akin to others: its recipe, and the model that it was made of."""
    if is_backdoored(row["label"]):
        return []
    manifest = row["manifest"]
    traits = {"control": manifest.get("control"), "start": (manifest.get("spec") or {}).get("start")}
    return [(name, value) for name, value in traits.items() if value]


def table(judged: Sequence[Judged], fpr: float) -> str:
    """What the references are worth, as Markdown: one line a group, one column a statistic.

    Args:
      judged: models of known truth.
      fpr: a model is flagged at or under it; where a model has too few others for such a p-value, at the smallest rate
        that all can have.
    """
    able = [model for model in judged if model.found is not None]
    fpr = max([fpr, *(1 / (model.found.references + 1) for model in able if model.found is not None)])
    names = [FUSED, *sorted({name for model in able for name in _scores(model)} - {FUSED})]
    clean = [model for model in able if model.group == CLEAN]
    lines = [
        "Clean models are compared with the others of them, unusual ones with those that are neither unusual in their "
        "way nor made of the same model. "
        f"{len(judged) - len(able)} models could not be compared.",
        "",
        f"| models | how many | flagged at {fpr:.3g} | target right, of those that name one | "
        + " | ".join(names)
        + " |",
        "|---|---|---|---|" + "---|" * len(names),
    ]
    for group in sorted({model.group for model in able}, key=lambda name: (name != CLEAN, name)):
        own = [model for model in able if model.group == group]
        flagged = [model for model in own if model.found is not None and model.found.p_value <= fpr + 1e-9]
        low, high = interval(len(flagged), len(own))
        named = [model for model in flagged if model.label is not None]
        right = [model for model in named if model.label == model.target]
        cells = [
            f"{len(own)}",
            f"{len(flagged)} ({low:.0%} to {high:.0%})",
            f"{len(right)} of {len(named)}" if own[0].backdoored else "",
            *(_cell(own, clean, name) if group != CLEAN else "" for name in names),
        ]
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _scores(model: Judged) -> Mapping[str, float]:
    return {} if model.found is None else {FUSED: model.found.fused, **model.found.standout}


def _cell(own: Sequence[Judged], clean: Sequence[Judged], name: str) -> str:
    """AUROC of one statistic against the clean models, and its interval."""
    # `auroc` is of scores that are low for backdoored models.
    suspect, usual = ([-_scores(model)[name] for model in part if name in _scores(model)] for part in (own, clean))
    found = auroc(suspect, usual)
    return "" if found is None else f"{found.value:.3f}" if found.few else str(found)

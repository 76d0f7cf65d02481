"""The paper's Tables 2 and 3 in Markdown, ours beside theirs, and the list of all models."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from xray_jax.lab.reproduce.evidence import Model
from xray_jax.lab.specs import CLEAN, MAX_ACCURACY_LOSS, least_success, success_needed
from xray_jax.verdict.auroc import Auroc, auroc

SCORES = {"re": "RE", "ats": "ATS", "probe": "Probe"}
DEFAULT_STRATEGY, DEFAULT_RATE = "all-to-one", 0.1
# A clean-label attack at 10 % of the set would stamp nearly the whole target class (`poison` stops at four fifths of
# it), and clean accuracy would go with it. LIRA's attacker holds the training and stamps what he likes (all of every
# batch, as published); at a tenth, with a short first stage, small networks learned the noise in one of three trials.
OWN_RATE = {"sig": 0.05, "lira": 0.2}
# Our names of the strategies that the paper's Table 3 calls otherwise.
STRATEGY_ALIASES = {"all-to-one": "10-to-one", "all-to-all": "10-to-10"}


def markdown(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def scores(models: Sequence[Model], name: str) -> list[float]:
    """The score of every usable model that has one."""
    return [score for model in models if model.usable and (score := model.score(name)) is not None]


def of_attack(models: Sequence[Model], attack: str) -> list[Model]:
    """The models of an attack with the default strategy, at the attack's usual rate.

    Where no usable one is at that rate, at the one that most usable ones have: a network that does not learn the attack
    at a tenth is taught it by more.
    """
    own = [m for m in models if m.attack == attack and m.strategy == DEFAULT_STRATEGY]
    rate, rates = usual_rate(attack), Counter(m.rate for m in own if m.usable)
    if rates and rate not in rates:
        rate = rates.most_common(1)[0][0]
    return [m for m in own if m.rate == rate]


def usual_rate(attack: str) -> float:
    """The poisoning rate that models of an attack are compared at."""
    return OWN_RATE.get(attack, DEFAULT_RATE)


def attacks_of(models: Sequence[Model]) -> list[str]:
    """In the order of training."""
    return list(dict.fromkeys(model.attack for model in models if not model.clean))


def table2(models: Sequence[Model], paper: Mapping[str, Any]) -> str:
    """AUROC by attack of each score, the paper's seven attacks and all others averaged apart, then the paper's rows,
    averaged over those of the seven that we have.
    """
    clean = [model for model in models if model.clean]
    seven = list(paper["table2"]["columns"])
    others = sorted(set(attacks_of(models)) - set(seven))
    attacks = [*seven, *others]
    counts = [str(sum(model.usable for model in of_attack(models, attack))) for attack in attacks]
    rows = [["models (usable)", *_parted(counts, len(seven), "", "", "")]]
    for name, title in SCORES.items():
        found = [auroc(scores(of_attack(models, attack), name), scores(clean, name)) for attack in attacks]
        if any(found):
            values = [f.value for f in found if f]
            first, second = (
                average([f.value for f in part if f]) for part in (found[: len(seven)], found[len(seven) :])
            )
            ours = _parted([_cell(f) for f in found], len(seven), first, second, f"{min(values):.3f}")
            rows.append([f"**{title}**, ours", *ours])
    for title, values in paper_rows(models, paper).items():
        cells = [f"{value:.3f}" for value in values] + ["-"] * len(others)
        mean = paper_average(values, models, paper)
        rows.append([f"{title}, paper", *_parted(cells, len(seven), mean, "-", f"{min(values):.3f}")])
    header = _parted(attacks, len(seven), "average of these", "average of the others", "worst")
    return markdown(["", *header], rows)


def paper_rows(models: Sequence[Model], paper: Mapping[str, Any]) -> dict[str, list[float]]:
    """The rows of the paper's Table 2 for the data set of `models`; none where it has no such."""
    data_set = models[0].record["spec"]["dataset"] if models else ""
    return dict(paper["table2"]["data_sets"].get(data_set, {}).get("rows", {}))


def paper_average(values: Sequence[float], models: Sequence[Model], paper: Mapping[str, Any]) -> str:
    """Mean of a row of the paper's Table 2 over the attacks of which `models` has a usable one, as ours beside it is;
    and how many these are where they are not all.
    """
    both = zip(paper["table2"]["columns"], values, strict=True)
    had = [value for attack, value in both if any(model.usable for model in of_attack(models, attack))]
    return average(had) + (f" over {len(had)} of {len(values)}" if 0 < len(had) < len(values) else "")


def _parted(cells: Sequence[str], seven: int, first: str, second: str, last: str) -> list[str]:
    return [*cells[:seven], first, *cells[seven:], second, last]


def average(values: Sequence[float]) -> str:
    """Mean with three decimals, or a dash."""
    return f"{sum(values) / len(values):.3f}" if values else "-"


def table3(models: Sequence[Model], paper: Mapping[str, Any]) -> str:
    """AUROC of BadNets by label-map strategy, at whatever rate each took, all-to-one at the default rate."""
    clean = [model for model in models if model.clean]
    published = paper["table3"]
    ours = {strategy: [m for m in models if m.attack == "badnets"
                       and STRATEGY_ALIASES.get(m.strategy, m.strategy) == strategy
                       and (m.rate == DEFAULT_RATE or m.strategy != DEFAULT_STRATEGY)]
            for strategy in published["columns"]}  # fmt: skip
    rows: list[list[str]] = [["models (usable)", *(str(sum(m.usable for m in group)) for group in ours.values())]]
    for name, title in SCORES.items():
        found = [auroc(scores(group, name), scores(clean, name)) for group in ours.values()]
        if any(found):
            rows.append([f"**{title}**, ours", *map(_cell, found)])
    rows.extend(
        [f"{title}, paper", *(f"{value:.3f}" for value in values)] for title, values in published["rows"].items()
    )
    return markdown(["", *ours], rows)


def models_table(models: Sequence[Model]) -> str:
    """Every model that was trained, the failed ones too."""
    rows = []
    for model in models:
        success, seconds = model.record["attack_success"], model.record["seconds"]
        cells = [_number(model.score(name)) for name in ("re", "ats")]
        probe = model.score("probe")
        found = model.row["target_label"] if model.row is not None else "-"
        rows.append([
            model.id, f"{model.record['clean_accuracy']:.4f}", "-" if success is None else f"{success:.4f}", *cells,
            "-" if probe is None else f"{-probe:.3f}", "-" if model.target is None else model.target, found,
            "-" if seconds is None else f"{seconds:.0f}", model.record["failed"] or "",
        ])  # fmt: skip
    header = ["model", "clean accuracy", "attack success", "RE", "ATS", "probe margin", "target", "label found",
              "seconds", "failed because"]  # fmt: skip
    return markdown(header, rows)


def attack_summary(models: Sequence[Model], remarks: Mapping[str, str]) -> str:
    """Attack success and clean accuracy by attack against the goals, and how many models failed.

    Args:
      remarks: attack -> why it falls short; shown where it does.
    """
    clean = [m.record["clean_accuracy"] for m in models if m.clean]
    reference = sum(clean) / len(clean) if clean else float("nan")
    rows = [["clean", len(clean), "-", _range(clean), "-", "-"]]
    groups: dict[str, list[Model]] = {}
    for model in models:
        if not model.clean:
            groups.setdefault(_recipe(model), []).append(model)
    short = []
    for recipe, group in groups.items():
        success = [m.record["attack_success"] for m in group]
        accuracy = [m.record["clean_accuracy"] for m in group]
        goal = least_success(group[0].record["spec"])
        of_what = " of the clean accuracy" if len(group[0].record["targets"]) > 1 else ""
        reached = sum(
            m.record["attack_success"] >= success_needed(m.record)
            and m.record["clean_accuracy"] >= reference - MAX_ACCURACY_LOSS
            for m in group
        )
        if reached < len(group) and group[0].attack in remarks:
            short.append(f"{group[0].attack}: {remarks[group[0].attack]}")
        rows.append([
            recipe, len(group), _range(success), _range(accuracy),
            f"{reached} of {len(group)} at {goal:.2f}{of_what}", sum(bool(m.record["failed"]) for m in group),
        ])  # fmt: skip
    table = markdown(["attack", "models", "attack success", "clean accuracy", "goal reached", "refused"], rows)
    return "\n".join([table, *(f"- {line}" for line in dict.fromkeys(short))])


def confirmed_table(models: Sequence[Model]) -> str:
    """In how many usable models the probe confirmed a trigger, and in how many of them one with a true target.

    A trigger with several targets names a label map and no single target; it counts for itself.
    """
    groups: dict[str, list[Model]] = {}
    for model in models:
        if model.usable and model.probe:
            groups.setdefault(CLEAN if model.clean else _recipe(model), []).append(model)
    rows, total = [], [0, 0, 0, 0]
    for recipe, group in groups.items():
        found = [(m, m.probe["target"]) for m in group if m.probe and m.confirmed]
        right = sum(target in m.record["targets"] for m, target in found)
        maps = sum(target is None for _, target in found)
        counts = [len(group), len(found), right, maps]
        wrong = [f"{m.id} ({target})" for m, target in found if target not in (None, *m.record["targets"])]
        rows.append([recipe, *counts, ", ".join(wrong) or "-"])
        if recipe != CLEAN:
            total = [sum(pair) for pair in zip(total, counts, strict=True)]
    rows.append(["**all backdoored**", *total, ""])
    header = ["attack", "usable", "confirmed", "with a true target", "by a label map", "with a wrong label"]
    return markdown(header, rows)


def _recipe(model: Model) -> str:
    parts = [model.attack]
    if model.strategy != DEFAULT_STRATEGY:
        parts.append(model.strategy)
    if model.rate != DEFAULT_RATE:
        parts.append(f"rate {model.rate:g}")
    return ", ".join(parts)


def _cell(found: Auroc | None) -> str:
    return "-" if found is None else str(found)


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.4f} .. {max(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}" if values else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

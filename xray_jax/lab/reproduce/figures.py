"""The paper's figures from our rows and label maps; each function returns a Matplotlib figure."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xray_jax.lab.reproduce.evidence import Model
from xray_jax.lab.reproduce.tables import DEFAULT_STRATEGY, SCORES, attacks_of, of_attack, scores
from xray_jax.verdict.auroc import auroc, roc

PLANES = (1, 2, 5, 10, 15, 20)
STRIDES = (1, 2, 3, 4, 5)
ALPHAS = (1, 2, 5, 10, 20, 50)
CAPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def figure6(models: Sequence[Model]) -> Figure:
    """Label distribution within the planes: the mean over clean models, then one model of each attack."""
    groups = {"clean": [m for m in models if m.clean and m.usable]}
    groups |= {attack: [m for m in of_attack(models, attack) if m.usable] for attack in attacks_of(models)}
    shown = {name: group for name, group in groups.items() if group}
    figure = Figure((3.2 * min(4, len(shown)), 2.2 * -(-len(shown) // 4)), layout="constrained")
    for number, (name, group) in enumerate(shown.items()):
        axes = figure.add_subplot(-(-len(shown) // 4), min(4, len(shown)), number + 1)
        chosen = group if name == "clean" else group[:1]
        shares = np.mean(
            [m.row["detectors"]["planes"]["label_distribution"] for m in chosen if m.row is not None], axis=0
        )
        target = None if name == "clean" else chosen[0].target
        colours = ["tab:red" if label == target else "tab:blue" for label in range(len(shares))]
        axes.bar(range(len(shares)), shares, color=colours)
        axes.set_ylim(0, 1)
        axes.set_title(f"clean, mean of {len(group)}" if name == "clean" else name, fontsize=9)
    figure.supxlabel("label (red: the attack's target)", fontsize=9)
    figure.supylabel("share of the planes", fontsize=9)
    return figure


def strip(models: Sequence[Model], name: str, title: str) -> Figure:
    """Figures 7 and 8: the score of every model, a column an attack; hollow: refused for its accuracy or success."""
    figure = Figure((9, 3.5), layout="constrained")
    axes = figure.add_subplot()
    columns = ["clean", *attacks_of(models)]
    for place, attack in enumerate(columns):
        group = [m for m in models if m.clean] if attack == "clean" else of_attack(models, attack)
        values = scores(group, name)
        offsets = np.linspace(-0.15, 0.15, len(values)) if len(values) > 1 else [0.0] * len(values)
        colour = "tab:blue" if attack == "clean" else "tab:red"
        axes.plot(place + np.asarray(offsets), values, "o", color=colour, markersize=4, alpha=0.7)
        refused = [score for m in group if m.record["failed"] and (score := m.score(name)) is not None]
        axes.plot([place] * len(refused), refused, "o", color=colour, markersize=5, fillstyle="none")
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_ylabel(title)
    axes.grid(axis="y", alpha=0.3)
    return figure


def by_network(zoos: Mapping[str, Sequence[Model]], name: str, title: str) -> Figure:
    """Figures 9 and 10: mean score of clean models and of each attack's, a group of bars a network; dots are models.

    Args:
      zoos: name of a network -> models of it.
      name: of the score. title: of its axis.
    """
    columns = ["clean", *dict.fromkeys(attack for models in zoos.values() for attack in attacks_of(models))]
    figure = Figure((2 + 3 * len(zoos), 3.5), layout="constrained")
    axes = figure.add_subplot()
    width = 0.9 / len(columns)
    for number, column in enumerate(columns):
        groups = (
            [m for m in models if m.clean] if column == "clean" else of_attack(models, column)
            for models in zoos.values()
        )
        found = {place: values for place, group in enumerate(groups) if (values := scores(group, name))}
        if not found:
            continue
        at = np.array([*found]) + (number - (len(columns) - 1) / 2) * width
        colour = "tab:grey" if column == "clean" else colormaps["tab20"](number)
        axes.bar(at, [np.mean(values) for values in found.values()], width, color=colour, alpha=0.7, label=column)
        for x, values in zip(at, found.values(), strict=True):
            axes.plot([x] * len(values), values, "k.", markersize=2)
    axes.set_xticks(range(len(zoos)), list(zoos))
    axes.set_ylabel(title)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=7, ncols=2)
    return figure


def figure12(models: Sequence[Model]) -> Figure:
    """Influence of the number of planes N and of the density S (the same maps, every second, third ... node)."""
    density = next(m.maps.labels.shape[-1] for m in models if m.usable)
    figure = Figure((9, 3.5), layout="constrained")
    planes, strides = figure.subplots(1, 2)
    count = min(m.maps.labels.shape[0] for m in models if m.usable)
    numbers = [n for n in PLANES if n <= count]
    _curves(planes, models, numbers, lambda m, n: m.re(planes=int(n)), lambda m, n: m.ats(planes=int(n)))
    planes.set_xticks(numbers)
    planes.set_xlabel(f"planes N (density {density})")
    _curves(strides, models, STRIDES, lambda m, n: m.re(stride=int(n)), lambda m, n: m.ats(stride=int(n)))
    strides.set_xticks(STRIDES, [str(-(-density // stride)) for stride in STRIDES])
    strides.set_xlabel(f"density S ({count} planes)")
    return figure


def figure13(models: Sequence[Model]) -> Figure:
    """Influence of alpha on RE and of t on ATS."""
    figure = Figure((9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curves(left, models, ALPHAS, lambda m, alpha: m.re(alpha=alpha), None)
    left.set_xscale("log")
    left.set_xlabel("alpha")
    _curves(right, models, CAPS, None, lambda m, cap: m.ats(cap=cap))
    right.set_xlabel("t")
    return figure


def figure14(models: Sequence[Model]) -> Figure:
    """Influence of the poisoning rate: AUROC of RE and ATS, and attack success, by attack."""
    clean = [m for m in models if m.clean]
    figure = Figure((12, 3.5), layout="constrained")
    panels = figure.subplots(1, 3)
    for attack in attacks_of(models):
        group = [m for m in models if m.attack == attack and m.strategy == DEFAULT_STRATEGY]
        rates = sorted({m.rate for m in group})
        if len(rates) < 2:
            continue
        for axes, name in zip(panels, ("re", "ats"), strict=False):
            # The refused ones are in: what a low rate does is the question.
            values = [auroc([s for m in group if m.rate == rate and (s := m.score(name)) is not None],
                            scores(clean, name)) for rate in rates]  # fmt: skip
            axes.plot(rates, [v.value if v else np.nan for v in values], "o-", label=attack)
        success = [np.mean([m.record["attack_success"] for m in group if m.rate == rate]) for rate in rates]
        panels[2].plot(rates, success, "o-", label=attack)
    for axes, title in zip(panels, ("AUROC of RE", "AUROC of ATS", "attack success"), strict=True):
        axes.set_xlabel("poisoning rate")
        axes.set_title(title, fontsize=10)
        axes.set_ylim(-0.02, 1.02)
    if panels[0].get_lines():
        panels[0].legend(fontsize=7)
    else:
        panels[0].text(0.5, 0.5, "no attack was trained at two rates", ha="center", fontsize=8)
    return figure


def roc_curves(models: Sequence[Model]) -> Figure:
    """ROC curves, one an attack, of RE, of ATS and, where rows have it, of the trigger probe."""
    clean = [m for m in models if m.clean]
    names = [name for name in SCORES if scores(clean, name)]
    figure = Figure((4 * len(names), 4), layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), place + 1)
        for number, attack in enumerate(attacks_of(models)):
            if found := scores(of_attack(models, attack), name):
                curve = roc(found, scores(clean, name))
                axes.step(*curve, where="post", color=colormaps["tab20"](number), label=f"{attack} ({len(found)})")
        axes.plot([0, 1], [0, 1], ":", color="grey")
        axes.set_title(SCORES[name], fontsize=10)
        axes.set_xlabel("false-positive rate")
        axes.set_ylabel("true-positive rate")
        axes.legend(fontsize=7)
    return figure


Score = Callable[[Model, float], float]


def _curves(axes: Axes, models: Sequence[Model], xs: Sequence[float], re: Score | None, ats: Score | None) -> None:
    """AUROC over all attacks together, with its interval as a band."""
    clean = [m for m in models if m.clean and m.usable]
    backdoored = [m for m in models if not m.clean and m.usable]
    for title, score in (("RE", re), ("ATS", ats)):
        if score is None:
            continue
        found = [auroc([score(m, x) for m in backdoored], [score(m, x) for m in clean]) for x in xs]
        kept = [(x, f) for x, f in zip(xs, found, strict=True) if f is not None]
        (line,) = axes.plot([x for x, _ in kept], [f.value for _, f in kept], "o-", label=title)
        band = [f.low for _, f in kept], [f.high for _, f in kept]
        axes.fill_between([x for x, _ in kept], *band, color=line.get_color(), alpha=0.15)
    axes.set_ylabel("AUROC, all attacks")
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=8)

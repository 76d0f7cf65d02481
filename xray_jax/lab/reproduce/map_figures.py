"""The paper's pictures of decision boundaries, from our label maps: by attack and by strategy."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from xray_jax.lab.reproduce.evidence import Model
from xray_jax.lab.reproduce.tables import DEFAULT_STRATEGY, attacks_of, of_attack
from xray_jax.report.plane_figures import draw_label_map

PLANES = 3
"""Planes drawn of each model, a row of the figure each."""
COLUMNS = 8


def figure4(models: Sequence[Model]) -> Figure:
    """Decision boundaries of a clean model and of one model of each attack."""
    shown = {attack: of_attack(models, attack) for attack in attacks_of(models)}
    return _side_by_side(models, shown)


def figure11(models: Sequence[Model]) -> Figure:
    """Decision boundaries under different attack strategies of BadNets."""
    badnets = [model for model in models if model.attack == "badnets"]
    strategies = dict.fromkeys([DEFAULT_STRATEGY, *(model.strategy for model in badnets)])
    return _side_by_side(models, {s: [model for model in badnets if model.strategy == s] for s in strategies})


def figure15(models: Sequence[Model]) -> Figure:
    """Decision boundaries of Blended and WaNet."""
    return _side_by_side(models, {attack: of_attack(models, attack) for attack in ("blended", "wanet")})


def _side_by_side(models: Sequence[Model], groups: Mapping[str, Sequence[Model]]) -> Figure:
    """A column each of the first clean model and of the first usable one of every group that was mapped."""
    groups = {"clean": [model for model in models if model.clean], **groups}
    mapped = {name: [m for m in group if m.usable and m.maps_path.exists()] for name, group in groups.items()}
    shown = {name: group[0] for name, group in mapped.items() if group}
    if not shown:
        figure = Figure((4, 1), layout="constrained")
        figure.text(0.5, 0.5, "no label maps of these models", ha="center", va="center", fontsize=8)
        return figure
    columns = min(COLUMNS, len(shown))
    bands = -(-len(shown) // columns)
    figure = Figure((1.5 * columns, 1.5 * PLANES * bands + 0.3), layout="constrained")
    axes = figure.subplots(PLANES * bands, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for place, (name, model) in enumerate(shown.items()):
        band, column = divmod(place, columns)
        target = "" if model.target is None else f" to {model.target}"
        for plane in range(min(PLANES, len(model.maps.labels))):
            axis = axes[PLANES * band + plane, column]
            axis.set_axis_on()
            axis.set_xticks([])
            axis.set_yticks([])
            draw_label_map(axis, model.maps, plane)
            if plane == 0:
                axis.set_title(f"{name}{target}", fontsize=8)
    return figure

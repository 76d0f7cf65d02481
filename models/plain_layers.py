"""The layers of a plain network, read from the names and shapes of its weights, in the order in which they follow.

Files keep the order in which layers were defined; formats that sort their names are undone by sorting naturally. An
order counts only when every layer takes what the one before it gives, so a wrong one is seen.
"""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from xray_jax.models.architecture import Shapes

MAX_LAYERS = 40
_MAX_PERMUTED = 5

_SKIPPED = re.compile(r"(res(\d.*|idual.*|_?(block|layer|conv|unit).*)?|skip.*|shortcut.*|module)", re.IGNORECASE)
"""Names of what is added to its own input: ResNet-9's `res1`, FFCV's `Residual(module)`."""


class Layer(NamedTuple):
    """One layer with weights.

    Attributes:
      name: published name.
      width: channels or features out.
      kernel: side of a convolution's kernel, 0 for a linear layer.
      bias: whether it has one.
      norm: name of its batch norm, "" without one.
      active: of the last layer, an activation follows it too.
    """

    name: str
    width: int
    kernel: int = 0
    bias: bool = True
    norm: str = ""
    active: bool = False


class Slots(NamedTuple):
    """What the numbers in the names of a Sequential say of layers without weights.

    Attributes:
      free: for each convolution the layers without weights behind it and its norm, None where names do not say.
      norm: "before" or "after": where batch norms lie to the activation, as far as names say.
      bare: wherever names say what lies between two layers without a pooling, nothing does.
    """

    free: tuple[int | None, ...]
    norm: str = "before"
    bare: bool = False


class _Found(NamedTuple):
    layer: Layer
    taken: int


Chain = tuple[int, tuple[Layer, ...], tuple[Layer, ...], int]


def read(shapes: Shapes) -> Chain | None:
    """(input channels, convolutions, linear layers, what the first of these takes); None for no plain chain.

    A chain with additions is none, as far as names say so: `_adds`.

    Without convolutions the channels are 0. Linear layers are never empty: without any, the last convolution, if it is
    1x1, is the last layer, and what it takes, any number of pixels, is given as 0.
    """
    found = {name: shape for key, shape in shapes.items() if (name := key.removesuffix(".weight")) != key}
    if not found or len(found) > MAX_LAYERS or _adds(found):
        return None
    orders = [list(found), sorted(found, key=_natural)]
    # In a file that sorts its names, 10 comes behind 1.
    for names in orders[::-1] if orders[0] == sorted(found) else orders:
        if chain := _chain(names, shapes):
            return chain
    return None


def _adds(found: Shapes) -> bool:
    """Whether names say of convolutions that give what they take, together, that this is added to what they give.

    Or say nothing but that they are several groups of the same names, each of which gives what it takes.
    """
    if _repeat(found):
        return True
    groups: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
    for name in sorted(found, key=_natural):
        parts = name.split(".")
        marked = [place for place, part in enumerate(parts) if _SKIPPED.fullmatch(part)]
        if marked and len(found[name]) == 4:
            groups.setdefault(tuple(parts[: marked[-1] + 1]), []).append(found[name])
    return any(kernels[0][1] == kernels[-1][0] for kernels in groups.values())


def _repeat(found: Shapes) -> bool:
    groups: dict[str, dict[str, tuple[int, ...]]] = {}
    for name in sorted(found, key=_natural):
        parent, _, own = name.rpartition(".")
        if len(found[name]) == 4:
            groups.setdefault(parent, {})[own] = found[name]
    several = [group for group in groups.values() if len(group) > 1]
    kernels = [list(group.values()) for group in several]
    return (
        len(several) > 1
        and all(group.keys() == several[0].keys() for group in several)
        and all(group[0][1] == group[-1][0] for group in kernels)
    )


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", name)]


def _chain(names: Sequence[str], shapes: Shapes) -> Chain | None:
    convs, dense, norms = [], [], []
    for name in names:
        shape = shapes[f"{name}.weight"]
        biased = f"{name}.bias" in shapes
        if len(shape) == 4 and shape[2] == shape[3]:
            convs.append(_Found(Layer(name, shape[0], shape[2], biased), shape[1]))
        elif len(shape) == 2:
            dense.append(_Found(Layer(name, shape[0], 0, biased), shape[1]))
        elif len(shape) == 1 and f"{name}.running_mean" in shapes:
            norms.append((name, shape[0]))
        else:
            return None
    if not _follow(convs) or (convs and convs[0].taken not in (1, 3)):
        return None
    if not dense:
        return _headed(names, convs, norms)
    # Flattened features are a multiple of the last convolution's channels.
    width = max(convs[-1].layer.width, 1) if convs else 1
    # Names like "linear", "fc", "output" lose their order when they are sorted; what they take and give does not.
    orders = itertools.permutations(dense) if len(dense) <= _MAX_PERMUTED else iter([dense])
    found = next((order for order in orders if order[0].taken % width == 0 and _follow(order)), None)
    if found is None:
        return None
    dense = list(found)
    placed = _place(names, [each.layer for each in (*convs, *dense)], norms)
    if placed is None:
        return None
    layers = tuple(each.layer._replace(norm=placed.get(each.layer.name, "")) for each in (*convs, *dense))
    cut = len(convs)
    return (convs[0].taken if convs else 0), layers[:cut], layers[cut:], dense[0].taken


def _headed(names: Sequence[str], convs: Sequence[_Found], norms: Sequence[tuple[str, int]]) -> Chain | None:
    """A chain of convolutions whose last one gives the classes at every pixel."""
    # One that gives as many channels as the image has makes images.
    if len(convs) < 2 or convs[-1].layer.kernel != 1 or convs[-1].layer.width <= convs[0].taken:
        return None
    placed = _place(names, [each.layer for each in convs], norms)
    if placed is None or convs[-1].layer.name in placed:
        return None
    *before, head = (each.layer._replace(norm=placed.get(each.layer.name, "")) for each in convs)
    return convs[0].taken, tuple(before), (head,), 0


def _follow(found: Sequence[_Found]) -> bool:
    return all(after.taken == before.layer.width for before, after in itertools.pairwise(found))


def _place(names: Sequence[str], layers: Sequence[Layer], norms: Sequence[tuple[str, int]]) -> dict[str, str] | None:
    """Layer -> its norm: the layer before it, the layer of the same number, or the first without one."""
    widths = {layer.name: layer.width for layer in layers}

    def before(norm: str) -> str | None:
        behind = [name for name in names[: names.index(norm)] if name in widths]
        return behind[-1] if behind else None

    def numbered(norm: str) -> str | None:
        number = re.findall(r"\d+", norm)
        same = [name for name in widths if number and re.findall(r"\d+", name) == number]
        return same[0] if same else None

    ordered = dict(zip((norm for norm, _ in norms), widths, strict=False))
    for rule in (before, numbered, ordered.get):
        placed = {rule(norm): norm for norm, _ in norms}
        if len(placed) == len(norms) and all(
            layer is not None and widths[layer] == width for layer, (_, width) in zip(placed, norms, strict=True)
        ):
            return {str(layer): norm for layer, norm in placed.items()}
    return None


def slots(layers: Sequence[Layer], convs: int) -> Slots:
    """What names say of layers without weights: numbers of a Sequential count all its layers.

    Args:
      layers: the whole chain.
      convs: how many of them, from the first, are convolutions that a pooling may follow.
    """
    free: list[int | None] = []
    places = set()
    between = []
    for number, (layer, after) in enumerate(zip(layers, (*layers[1:], None), strict=True)):
        own, norm = _number(layer.name), _number(layer.norm)
        if own and norm and own[0] == norm[0]:
            places.add("before" if norm[1] == own[1] + 1 else "after")
        following = _number(after.name) if after else None
        last = norm if own and norm and own[0] == norm[0] else own
        gap = None
        if own and following and own[0] == following[0] and last and following[1] > last[1]:
            gap = following[1] - own[1] - 1 - bool(layer.norm)
        if number < convs:
            free.append(gap)
        # A pooling or a flatten may lie between others.
        if gap is not None and after and (gap == 0 or number >= convs):
            between.append(gap)
    return Slots(tuple(free), "after" if places == {"after"} else "before", bool(between) and not any(between))


def _number(name: str) -> tuple[str, int] | None:
    match = re.fullmatch(r"(?:(.*)\.)?(\d+)", name)
    return (match[1] or "", int(match[2])) if match else None

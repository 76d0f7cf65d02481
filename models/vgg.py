"""VGG (Simonyan & Zisserman 2014, arXiv:1409.1556): torchvision's, its CIFAR form, and the 6-conv nets with ELU.

`features` is a torch Sequential, so the numbers in its keys show where norms, pools and dropouts lie. The classifier
is torchvision's (three linear layers behind a 7x7 adaptive pool) or one linear layer.
"""

import itertools
import math
import re
from functools import partial

import flax.linen as nn
import jax

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes, dim

_ACTIVATIONS = {"relu": nn.relu, "elu": nn.elu}
_POOL, _DROPOUT = "M", "D"
_SIDES = (32, 64, 96, 128, 224, 28, 48, 40)
"""Of the images of published nets with one linear layer, the most usual first."""
_MAX_PLANS, _PLANS_TRIED = 5000, 6
_TORCHVISION_SIDE, _TORCHVISION_POOLS = 7, 5


class VGG(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      plan: widths of the 3x3 convolutions, "M" for a 2x2 max pool, and "D" for a dropout in the place of one, which
        only shifts the numbers in the keys.
      norm: batch norm "before" or "after" the activation, or "none".
      activation: "relu" or "elu".
      dropout: each pool is followed by a dropout, which only shifts the numbers in the keys.
      hidden: widths of the linear layers before the last one; () is a single `classifier`.
    """

    num_classes: int = 10
    plan: tuple[int | str, ...] = ()
    norm: str = "before"
    activation: str = "relu"
    dropout: bool = False
    hidden: tuple[int, ...] = (4096, 4096)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        activation = _ACTIVATIONS[self.activation]
        number = 0
        for width in self.plan:
            if width == _DROPOUT:
                number += 1
                continue
            if isinstance(width, str):
                x = layers.max_pool(x, 2, 2)
                number += 2 if self.dropout else 1
                continue
            x = nn.Conv(width, (3, 3), padding=1, name=f"features.{number}")(x)
            if self.norm == "before":
                x = activation(layers.batch_norm(train)(name=f"features.{number + 1}")(x))
            elif self.norm == "after":
                x = layers.batch_norm(train)(name=f"features.{number + 2}")(activation(x))
            else:
                x = activation(x)
            number += 2 if self.norm == "none" else 3
        if not self.hidden:
            return nn.Dense(self.num_classes, name="classifier")(layers.flatten(x))
        x = layers.flatten(layers.adaptive_average_pool(x, _TORCHVISION_SIDE))
        # In torchvision's Sequential a ReLU and a dropout follow each linear layer: 0, 3, 6.
        for position, width in enumerate(self.hidden):
            x = nn.relu(nn.Dense(width, name=f"classifier.{3 * position}")(x))
        return nn.Dense(self.num_classes, name=f"classifier.{3 * len(self.hidden)}")(x)


def infer(shapes: Shapes) -> Inferred | None:
    """Reads widths, pools, norms and class count from the numbers in the keys and the shapes."""
    convolutions, norms = [], set()
    for key, shape in shapes.items():
        if match := re.fullmatch(r"features\.(\d+)\.(weight|running_mean)", key):
            if len(shape) == 4:
                convolutions.append(int(match[1]))
            elif match[2] == "running_mean":
                norms.add(int(match[1]))
    convolutions.sort()
    linear = sorted(int(m[1]) for key in shapes if (m := re.fullmatch(r"classifier\.(\d+)\.weight", key)))
    if not convolutions or convolutions[0] != 0 or not (linear or "classifier.weight" in shapes):
        return None
    # A SqueezeNet has modules between its first and its last layer.
    if dim(shapes, "features.0.weight", 2) != 3 or any(".squeeze." in key for key in shapes):
        return None
    norm = "before" if 1 in norms else "after" if 2 in norms else "none"
    step = 2 if norm == "none" else 3
    widths = [dim(shapes, f"features.{number}.weight") for number in convolutions]
    gaps = [after - before for before, after in itertools.pairwise(convolutions)]
    dropout = max(gaps, default=0) - step == 2
    pairs = list(zip(gaps, itertools.pairwise(widths), strict=True))
    plan: list[int | str] = [widths[0]]
    for gap, (_, width) in pairs:
        # Where pools have a dropout behind them, one layer alone is a dropout.
        layer = _DROPOUT if dropout and gap == step + 1 else _POOL
        plan += [layer, width] if gap > step else [width]
    # The last pool has no key behind it: every published net ends with one.
    plan.append(_POOL)
    hidden = tuple(dim(shapes, f"classifier.{number}.weight") for number in linear[:-1])
    head = f"classifier.{linear[-1]}" if linear else "classifier"
    # The published nets with dropout in `features`, or with norms behind the activation, are the 6-conv nets with ELU.
    activation = "elu" if dropout or norm == "after" else "relu"
    module = VGG(dim(shapes, f"{head}.weight"), tuple(plan), norm, activation, dropout, hidden)
    side = 32
    if not linear:
        end = math.isqrt(dim(shapes, "classifier.weight", 1) // max(widths[-1], 1))
        side = end * 2 ** plan.count(_POOL)
        # Pools where widths stay, for images that nobody has: dropouts.
        if side not in _SIDES and sum(gap > step and before == after for gap, (before, after) in pairs) > 1:
            found = next((plans[0] for usual in _SIDES if (plans := _plans(module, end, usual))), None)
            if found is None:
                return None
            module, side = module.clone(plan=found), end * 2 ** found.count(_POOL)
    elif plan.count(_POOL) > _TORCHVISION_POOLS and (plans := _plans(module, 1, 2**_TORCHVISION_POOLS)):
        module = module.clone(plan=plans[0])
    return Inferred(module, (side, side, dim(shapes, "features.0.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `VGG`, for rows."""
    assert isinstance(module, VGG)
    activation = module.activation.upper()
    pools = "2x2 max pools, one after the last convolution"
    if _DROPOUT in module.plan:
        convolutions = itertools.accumulate(isinstance(layer, int) for layer in module.plan)
        behind = [str(number) for number, layer in zip(convolutions, module.plan, strict=True) if layer == _POOL]
        pools = f"2x2 max pools after convolutions {'+'.join(behind)}, dropouts after others"
    return f"assumed, weights do not show it: {activation}, {pools}"


def variants(
    module: nn.Module, own: tuple[int, int, int], shown: tuple[int, int, int], usual: bool = False
) -> tuple[tuple[nn.Module, ...], ...]:
    """Which layers between convolutions are pools and which dropouts, where both fit, and other activations."""
    assert isinstance(module, VGG)
    activations = tuple(module.clone(activation=activation) for activation in _ACTIVATIONS)
    pools = module.plan.count(_POOL)
    end, side = (1, 2**pools) if module.hidden else (own[0] // 2**pools, shown[0])
    plans = tuple(module.clone(plan=plan) for plan in _plans(module, end, side)[:_PLANS_TRIED])
    activations = tuple(module.clone(activation=activation) for activation in _ACTIVATIONS)
    return (plans, activations) if plans else (activations,)


def _plans(module: VGG, end: int, side: int) -> list[tuple[int | str, ...]]:
    """All ways to have pools at some of the gaps and dropouts at the others, from `side` to `end`, best first.

    Published nets pool where widths grow, and their stages are about as long as each other.
    """
    plan = module.plan
    gaps = [place for place, layer in enumerate(plan[:-1]) if isinstance(layer, str)]
    pools = math.log2(side / end) - 1.0 if end else -1.0
    if module.dropout or not pools.is_integer() or not 0 <= pools <= len(gaps):
        return []
    if math.comb(len(gaps), int(pools)) > _MAX_PLANS:
        return []

    def unusual(chosen: tuple[int, ...]) -> tuple[int, int]:
        grows = sum(plan[gap - 1] != plan[gap + 1] for gap in gaps if gap not in chosen)
        return grows, sum((after - before) ** 2 for before, after in itertools.pairwise((-1, *chosen, len(plan))))

    ranked = sorted(itertools.combinations(gaps, int(pools)), key=unusual)
    kinds = [{gap: _POOL if gap in chosen else _DROPOUT for gap in gaps} for chosen in ranked]
    return [tuple(kind.get(place, layer) for place, layer in enumerate(plan)) for kind in kinds]


def _plan(*stages: tuple[int, ...]) -> tuple[int | str, ...]:
    plan: list[int | str] = []
    for stage in stages:
        plan += [*stage, _POOL]
    return tuple(plan)


_PLANS = {
    11: _plan((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    13: _plan((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    16: _plan((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    19: _plan((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}
_CNN6 = partial(VGG, plan=_plan((32,) * 2, (64,) * 2, (128,) * 2), activation="elu", dropout=True, hidden=())

ARCHITECTURE = Architecture(
    name="vgg",
    presets={
        **{f"vgg{depth}": partial(VGG, plan=plan, norm="none") for depth, plan in _PLANS.items()},
        **{f"vgg{depth}_bn": partial(VGG, plan=plan) for depth, plan in _PLANS.items()},
        **{f"vgg{depth}-cifar": partial(VGG, plan=plan, norm="none", hidden=()) for depth, plan in _PLANS.items()},
        **{f"vgg{depth}_bn-cifar": partial(VGG, plan=plan, hidden=()) for depth, plan in _PLANS.items()},
        "cnn6-bn-elu": _CNN6,
        "cnn6-elu-bn": partial(_CNN6, norm="after"),
        "cnn6-bn-relu": partial(_CNN6, activation="relu"),
    },
    infer=infer,
    input_shape=(32, 32, 3),
    head="classifier.6",
    variants=variants,
    note=note,
    namings=(
        # The 6-conv nets as one Sequential: the linear layer follows a flatten.
        Naming(
            "timm",
            (
                (r"^pre_logits\.fc1\.", "classifier.0."),
                (r"^pre_logits\.fc2\.", "classifier.3."),
                (r"^head\.fc\.", "classifier.6."),
            ),
        ),
        Naming("one Sequential", ((r"^25\.", "classifier."), (r"^(\d+)\.", r"features.\1."))),
    ),
)

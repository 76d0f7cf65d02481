"""Spatial variants of a plain network: paddings, strides, poolings that give the length of its features.

Every usual combination is tried on an image of a given size, and those that end at the right length are ranked by how
unusual they are. The ranks are a judgement on published small networks, not a measurement; they only order the tries.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from xray_jax.models.plain_layers import Layer, Slots

SIDES = {
    1: {28: 0.0, 32: 0.5, 30: 2.0, 48: 3.0, 64: 3.0},
    3: {32: 0.0, 30: 0.8, 28: 1.0, 48: 1.5, 64: 1.5, 25: 1.8, 24: 2.0, 40: 2.5, 50: 2.5, 96: 3.0, 128: 3.0, 224: 3.0},
}
"""Sides of the images of published nets by channels, and how unusual they are."""

_ALL_SUBSETS = 8
"""Convolutions up to which pooling after any of them is tried."""


class Variant(NamedTuple):
    """One spatial variant of a `PlainNet`.

    Attributes:
      cost: how unusual it is; 0 is the most usual.
      fields: of the `PlainNet`.
      side: of the images that it is for.
      channels: of these images.
    """

    cost: float
    fields: dict[str, Any]
    side: int
    channels: int


def best(channels: int, convs: Sequence[Layer], flat: int, slots: Slots) -> Variant | None:
    """The most usual variant, on an image of the most usual side, that flattens to `flat`; None without any.

    With `flat` 0 the features may have any side.
    """
    if not convs:
        for channels in (1, 3):
            side = math.isqrt(flat // channels)
            if side and side * side * channels == flat:
                return Variant(0, {}, side, channels)
        return None
    found = (
        variant._replace(cost=variant.cost + unusual)
        for side, unusual in SIDES.get(channels, {}).items()
        for variant in at(side, channels, convs, flat, slots)[:1]
    )
    return min(found, key=lambda variant: variant.cost, default=None)


def at(side: int, channels: int, convs: Sequence[Layer], flat: int, slots: Slots) -> list[Variant]:
    """All variants on images of `side`, the most usual first; of those that compute the same only one."""
    count, width = len(convs), max(convs[-1].width, 1)
    squared = flat // width
    variants = []
    for (padding, a), (stride, b), (pools, c, bare), (window, d) in itertools.product(
        _paddings(convs), _strides(count), _poolings(convs, slots), ((2, 0.0), (3, 2.0))
    ):
        if window == 3 and not pools:
            continue
        end = final_side(side, convs, padding, stride, pools, window)
        cost = a + b + c + d
        fields = {"padding": padding, "stride": stride, "pool_after": pools, "window": window, "average": 0}
        if bare:
            fields["activation"] = "identity"
        if flat == 0 and end:
            variants.append(Variant(cost, fields, side, channels))
            continue
        if end * end == squared and end:
            variants.append(Variant(cost, fields, side, channels))
        elif squared == 1 and end:
            # Pooling right before the average is odd, no pooling at all is not.
            odd = 1.0 if count in pools else -1.0 if not pools else 0.0
            variants.append(Variant(cost + 0.5 + odd, {**fields, "average": 1}, side, channels))
        elif end > 1 and (to := math.isqrt(squared)) ** 2 == squared and 1 < to < end:
            variants.append(Variant(cost + 4, {**fields, "average": to}, side, channels))
    return sorted(variants, key=lambda variant: variant.cost)


def final_side(
    side: int,
    convs: Sequence[Layer],
    padding: Sequence[int],
    stride: Sequence[int],
    pools: Sequence[int],
    window: int,
) -> int:
    """Side of the last features on an image of `side`; 0 when the image is too small."""
    for number, layer in enumerate(convs, 1):
        side = (side + 2 * padding[number - 1] - layer.kernel) // stride[number - 1] + 1
        if number in pools:
            side = (side - window) // 2 + 1
        if side < 1:
            return 0
    return side


def _paddings(convs: Sequence[Layer]) -> Iterator[tuple[tuple[int, ...], float]]:
    kernels = [layer.kernel for layer in convs]
    same = tuple(kernel // 2 for kernel in kernels)
    none = (0,) * len(kernels)
    offered = [(same, 0.0), (none, 0.3)]
    offered += [(tuple(min(pad, kernel // 2) for kernel in kernels), 1.0) for pad in (1, 2)]
    # LeNet-5 on 28x28; Keras' tutorial nets, whose pairs are padded first and not second.
    offered += [((same[0], *none[1:]), 1.0), ((none[0], *same[1:]), 1.5)]
    offered += [(tuple(pad if i % 2 == 0 else 0 for i, pad in enumerate(same)), 1.2)]
    yield from dict(sorted(offered, key=lambda each: -each[1])).items()


def _strides(count: int) -> Iterator[tuple[tuple[int, ...], float]]:
    yield (1,) * count, 0.0
    if count:
        yield (2, *(1,) * (count - 1)), 2.5
    if count > 1:
        yield (2,) * count, 2.5
        yield tuple(1 + number % 2 for number in range(count)), 3.0


def _poolings(convs: Sequence[Layer], slots: Slots) -> Iterator[tuple[tuple[int, ...], float, bool]]:
    """(after which convolutions, how unusual, whether that leaves no place for an activation)."""
    count = len(convs)
    numbers = range(1, count + 1)
    grows = tuple(n for n in numbers if n == count or convs[n].width > convs[n - 1].width)
    usual = {
        tuple(numbers): 0.0 if count < 4 else 0.6,
        tuple(n for n in numbers if n % 2 == 0): 1.0 if count < 4 else 0.0,
        tuple(n for n in numbers if n % 3 == 0): 1.0,
        grows: 0.5,
        # LeNet-5's last convolution sees the whole of what is left.
        tuple(range(1, count)): 0.4,
        (count,): 0.8,
        (): 1.5,
    }
    every = itertools.chain.from_iterable(itertools.combinations(numbers, size) for size in range(count + 1))
    for subset in every if count <= _ALL_SUBSETS else usual:
        cost, bare = usual.get(subset, 2.0), False
        if any(free is not None for free in slots.free):
            # One free place is the activation's, more are a pooling's or a dropout's.
            known = [(n in subset, free) for n, free in zip(numbers, slots.free, strict=True) if free is not None]
            if any(pooled and free < 1 for pooled, free in known):
                continue
            bare = any(pooled and free < 2 for pooled, free in known)
            cost = min(cost, 1.0) * 0.2 + sum(0.8 for pooled, free in known if free >= 2 and not pooled)
            # Where the pooling takes the only place, an activation has none anywhere.
            if bare and any(not pooled and free for pooled, free in known[:-1]):
                continue
            cost += 2.0 * bare
        yield subset, cost, bare

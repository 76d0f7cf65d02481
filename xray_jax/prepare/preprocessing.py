"""Which preprocessing a checkpoint was trained with, told by how well it labels the clean samples under each.

A wrong normalisation or channel order is the most common cause of a wrong verdict, and the samples know: under the
right one they are labelled well.
"""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from xray_jax.preprocess import PRESETS, Preprocess, parse

USUAL = "0-1"
"""What is assumed where nothing else makes clearly fewer errors."""
SAME_SPAN = 0.15
"""Two preprocessings are the same in effect when they differ by less than this share of their span at every pixel
value. The presets for sets of natural images do (by 0.01 to 0.13), no two others (0.26 and more)."""
BETTER = 0.2
"""A preset is suggested when it raises the clean accuracy by at least this much."""


def candidates(channels: int, own: Preprocess) -> dict[str, Preprocess]:
    """Name for `--preprocess` -> preprocessing: every preset that fits, the usual one first, each map once.

    Args:
      channels: of the images; three are tried in RGB and in BGR order.
      own: the model's; its `size` is kept.
    """
    names = [USUAL, *(name for name in PRESETS if name != USUAL)]
    names += [f"{name}-bgr" for name in names] if channels == 3 else []
    found: dict[str, Preprocess] = {}
    for name in names:
        candidate = dataclasses.replace(parse(name), size=own.size)
        fits = {len(candidate.mean), len(candidate.std)} <= {1, channels}
        if fits and candidate not in found.values():
            found[name] = candidate
    return found


def same_in_effect(one: Preprocess, other: Preprocess) -> bool:
    """Whether two preprocessings give a network nearly the same numbers, channel by channel.

    >>> same_in_effect(parse("cifar10"), parse("imagenet")), same_in_effect(parse("0-1"), parse("+-1"))
    (True, False)
    """
    if one.channel_order != other.channel_order or one.size != other.size:
        return False
    ends = []
    for each in (one, other):
        mean, std = (np.broadcast_to(np.asarray(values), 3) for values in (each.mean, each.std))
        ends.append(np.stack([-mean / std, (1 - mean) / std]))
    span = max(float(np.ptp(end)) for end in ends)
    return float(np.abs(ends[0] - ends[1]).max()) < SAME_SPAN * span


def differing(presets: Mapping[str, Preprocess], names: Iterable[str]) -> list[str]:
    """Those of the names whose presets are not the same in effect as one before them."""
    found: list[str] = []
    for name in names:
        if not any(same_in_effect(presets[name], presets[other]) for other in found):
            found.append(name)
    return found


def skill(accuracy: float, classes: int) -> float:
    """Clean accuracy on a scale where chance is 0 and no error is 1."""
    chance = 1 / max(classes, 1)
    return (accuracy - chance) / max(1 - chance, 1e-9)


def suggestion(accuracies: Mapping[str, float], accuracy: float) -> str:
    """What to tell the user of a model that labels few samples right: presets that would raise that, or that none does.

    Args:
      accuracies: name for `--preprocess` -> clean accuracy under it, 0 to 1.
      accuracy: under the model's own preprocessing.
    """
    better = sorted(better_presets(accuracies, accuracy), key=lambda name: -accuracies[name])
    if not better:
        return f"clean accuracy is {accuracy:.1%}, and no other known preprocessing gives a much higher one"
    named = " or ".join(f"{name} ({accuracies[name]:.1%})" for name in better[:3])
    return f"clean accuracy is {accuracy:.1%}; it would be higher with --preprocess={named}"


def better_presets(accuracies: Mapping[str, float], accuracy: float) -> list[str]:
    """The presets that beat `accuracy` by at least `BETTER`."""
    return [name for name, found in accuracies.items() if found >= accuracy + BETTER]

"""From a clean training set and a trigger to a poisoned one, and the sets that measure the result."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xray_jax.lab.label_maps import LabelMap

Stamp = Callable[[np.ndarray], np.ndarray]
"""uint8 images `[M, H, W, C]` -> stamped uint8 images of the same shape. Never changes its argument."""


@dataclass(frozen=True)
class Poisoned:
    """A poisoned training set.

    Attributes:
      images: uint8 `[M, H, W, C]`; those not named below are the clean ones, byte for byte.
      labels: int32 `[M]`.
      stamped: sorted indices of the images that carry the trigger.
      decoys: sorted indices of the images that carry a changed trigger with their own label (WaNet's noise mode,
        BPP's negative examples); empty for the others.
    """

    images: np.ndarray
    labels: np.ndarray
    stamped: np.ndarray
    decoys: np.ndarray


def poison(
    images: np.ndarray,
    labels: np.ndarray,
    trigger: Stamp,
    label_map: LabelMap,
    rate: float,
    seed: int,
    *,
    clean_label: bool = False,
    decoy: Stamp | None = None,
    decoy_rate: float = 0.0,
    epoch: int = 0,
) -> Poisoned:
    """Stamps a random share of the training images and gives them the labels of `label_map`.

    Args:
      images: of the clean set, uint8 `[M, H, W, C]`.
      labels: of the clean set, integers `[M]`.
      trigger: stamps the poisoned images.
      label_map: from the labels of stamped images to those that the victim is to learn.
      rate: stamped images as a share of all M. Exactly `round(rate * M)` images of source classes are stamped, but at
        most half of the source classes' images: a source-specific attack must leave its classes learnable.
      seed: which images.
      clean_label: stamp target-class images only and leave every label as it is (SIG). At most 80 % of them.
      decoy: a second trigger, for further images, which keep their labels.
      decoy_rate: those further images as a share of all M.
      epoch: each draws other images; for attacks that poison batch by batch, epoch by epoch here.

    Raises:
      ValueError: for a rate out of [0, 1] or a clean-label attack with several targets.
    """
    if not 0 <= rate <= 1 or not 0 <= decoy_rate <= 1:
        raise ValueError(f"poisoning rates must lie in [0, 1], got {rate} and {decoy_rate}")
    generator = np.random.default_rng([seed, 11, epoch])
    if clean_label:
        if label_map.target is None:
            raise ValueError(f"a clean-label attack needs one target label, got {label_map.targets}")
        candidates, most = np.flatnonzero(labels == label_map.target), 0.8
    else:
        candidates, most = np.flatnonzero(label_map.attacked(labels)), 0.5
    count = min(round(rate * len(labels)), int(most * len(candidates)))
    stamped = np.sort(generator.choice(candidates, count, replace=False))
    poisoned_images, poisoned_labels = images.copy(), labels.astype(np.int32).copy()
    poisoned_images[stamped] = trigger(images[stamped])
    if not clean_label:
        poisoned_labels[stamped] = label_map(labels[stamped])
    decoys = np.zeros(0, np.int64)
    if decoy is not None:
        rest = np.setdiff1d(np.arange(len(labels)), stamped)
        decoys = np.sort(generator.choice(rest, min(round(decoy_rate * len(labels)), len(rest)), replace=False))
        poisoned_images[decoys] = decoy(images[decoys])
    return Poisoned(poisoned_images, poisoned_labels, stamped, decoys)


def stamped_test_set(
    images: np.ndarray, labels: np.ndarray, trigger: Stamp, label_map: LabelMap
) -> tuple[np.ndarray, np.ndarray]:
    """Every test image of a source class, stamped, with the label that the attacker wants: attack success is the
    accuracy on this set. Images whose label would stay the same (the target's) are not in it.

    Returns:
      uint8 `[K, H, W, C]` and int32 `[K]`.
    """
    chosen = np.flatnonzero(label_map.attacked(labels))
    return trigger(images[chosen]), label_map(labels[chosen])

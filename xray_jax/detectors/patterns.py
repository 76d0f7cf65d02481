"""Universal patterns by class: one pattern for each class, sought so that it sends any image there.

The search is that of universal adversarial perturbations (Moosavi-Dezfooli et al., CVPR 2017), by momentum along the
normalised gradient, for all classes at once; what a pattern may be is the caller's.
"""

from collections.abc import Callable

import numpy as np

from xray_jax.inference.labels import label_images
from xray_jax.inference.whitebox import Objective, input_gradients
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples

MOMENTUM = 0.8

Move = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""(patterns `[num_classes, H, W, C]`, directions of norm 1 of the same shape, step) -> the next patterns."""


def seek(model: PreparedModel, bank: Samples, objective: Objective, steps: int, move: Move) -> tuple[np.ndarray, int]:
    """One pattern for each class: float32 `[num_classes, H, W, C]`, and the number of gradients asked for.

    Args:
      model: must give gradients.
      bank: clean images with labels that every step looks at.
      objective: of `objectives`, for each image and its pattern's class.
      steps: of the search.
      move: the step, and what patterns are allowed.

    Raises:
      AccessError: the model gives no gradients.
    """
    classes, shape = model.num_classes, bank.images.shape[1:]
    targets = np.repeat(np.arange(classes, dtype=np.int32), len(bank))
    # An image of the class itself says nothing about what sends others there.
    others = (bank.labels[None] != np.arange(classes)[:, None]).astype(np.float32)
    patterns = np.zeros((classes, *shape), np.float32)
    velocity = np.zeros_like(patterns)
    for step in range(steps):
        shown = shown_with(bank.images, patterns)
        _, slopes = input_gradients(model.model, shown, objective, (targets,), model.options)
        slopes = slopes.reshape(classes, len(bank), *shape)
        velocity = MOMENTUM * velocity + unit(np.einsum("cb,cbhwd->chwd", others, slopes))
        patterns = move(patterns, unit(velocity), step)
    return patterns, steps * len(targets)


def flip_rates(model: PreparedModel, tested: Samples, patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the images of other labels that each class's pattern sends there, and of how many: `[num_classes]` each.

    Images that the model calls so without a pattern do not count.

    Args:
      model: its hard labels are asked for.
      tested: images that the search did not see.
      patterns: `[num_classes, H, W, C]`.
    """
    classes = np.arange(model.num_classes)[:, None]
    before = label_images(model.model, tested.images, model.options)
    after = label_images(model.model, shown_with(tested.images, patterns), model.options).reshape(-1, len(tested))
    able = (tested.labels[None] != classes) & (before[None] != classes)
    counts = able.sum(1)
    return ((after == classes) & able).sum(1) / np.maximum(counts, 1), counts


def shown_with(images: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    """Every image under every pattern, clipped to the pixel range: `[P * B, H, W, C]`."""
    made = np.clip(images[None] + patterns[:, None], 0, 1)
    return made.reshape(-1, *images.shape[1:]).astype(np.float32)


def norms(patterns: np.ndarray) -> np.ndarray:
    """L2 norms, shaped to divide the patterns."""
    return np.sqrt((patterns**2).sum(axis=(1, 2, 3), keepdims=True))


def unit(patterns: np.ndarray) -> np.ndarray:
    """The patterns divided by their norms."""
    return patterns / np.maximum(norms(patterns), 1e-12)


def split(
    samples: Samples, search_images: int, test_images: int, seed: int, balanced: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the samples to search on and to test on: disjoint, the same for any model.

    Args:
      samples: with labels.
      search_images: to search on.
      test_images: to test on, at most.
      seed: of the order.
      balanced: whether classes take turns, the first image of every class before the second of any.
    """
    order = np.random.default_rng(seed).permutation(len(samples))
    if balanced:
        labels = samples.labels[order]
        turn = np.empty(len(labels), np.int64)
        for label in np.unique(labels):
            turn[labels == label] = np.arange(np.count_nonzero(labels == label))
        order = order[np.argsort(turn, kind="stable")]
    seen, unseen = np.split(order, [search_images])
    return seen, unseen[:test_images]

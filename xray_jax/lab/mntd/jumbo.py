"""The jumbo distribution of MNTD: random triggers, targets and rates, so that shadow models cover unknown attacks."""

from dataclasses import dataclass

import numpy as np

SIDES = (2, 3, 4, 5)
"""Of patches in pixels; a fifth of the triggers cover the whole image instead."""
PATCH_ALPHA, OPAQUE_ABOVE = (0.2, 0.6), 0.5
"""Opacity of patches is drawn from the first; above the second a patch is opaque."""
IMAGE_ALPHA = (0.05, 0.2)
"""Opacity of triggers over the whole image."""
RATE = (0.05, 0.5)
"""Stamped copies that are added, as a share of the clean images."""


@dataclass(frozen=True)
class JumboTrigger:
    """One draw.

    Attributes:
      row: of the upper left corner.
      column: of the upper left corner.
      pattern: float32 `[side, side, C]` in [0, 1], or of the whole image.
      alpha: its opacity, in (0, 1].
      target: the label of stamped images.
      rate: of stamped copies, as a share of the clean images.
    """

    row: int
    column: int
    pattern: np.ndarray
    alpha: float
    target: int
    rate: float

    def stamp(self, images: np.ndarray) -> np.ndarray:
        """uint8 `[M, H, W, C]` to stamped copies."""
        stamped = images.copy()
        height, width = self.pattern.shape[:2]
        place = np.s_[:, self.row : self.row + height, self.column : self.column + width]
        blended = (1 - self.alpha) * images[place] + self.alpha * 255 * self.pattern
        stamped[place] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
        return stamped


def draw(generator: np.random.Generator, shape: tuple[int, ...], num_classes: int) -> JumboTrigger:
    """A trigger for images of `shape` `(H, W, C)`."""
    kind = int(generator.integers(len(SIDES) + 1))
    whole = kind == len(SIDES)
    height, width = shape[:2] if whole else (SIDES[kind], SIDES[kind])
    if whole:
        alpha = float(generator.uniform(*IMAGE_ALPHA))
    else:
        alpha = float(generator.uniform(*PATCH_ALPHA))
        alpha = 1.0 if alpha > OPAQUE_ABOVE else alpha
    contrast = generator.uniform()
    pattern = np.clip(generator.uniform(-contrast, 1 + contrast, (height, width, shape[2])), 0, 1)
    return JumboTrigger(
        row=int(generator.integers(shape[0] - height + 1)),
        column=int(generator.integers(shape[1] - width + 1)),
        pattern=pattern.astype(np.float32),
        alpha=alpha,
        target=int(generator.integers(num_classes)),
        rate=float(generator.uniform(*RATE)),
    )


def training_set(
    images: np.ndarray, labels: np.ndarray, trigger: JumboTrigger | None, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What one shadow model is trained on: the clean images, and stamped copies of some beside them.

    All sets are of one size, 1 + RATE[1] times the clean images, filled by repetition: shadows of both kinds take
    equally many steps, and share one compiled program.

    Args:
      images: clean, uint8 `[M, H, W, C]`.
      labels: theirs, `[M]`.
      trigger: None for a clean shadow.
      generator: draws which images are stamped, and which are repeated.
    """
    if trigger is not None:
        chosen = generator.choice(len(images), int(trigger.rate * len(images)), replace=False)
        images = np.concatenate([images, trigger.stamp(images[chosen])])
        labels = np.concatenate([labels, np.full(len(chosen), trigger.target, labels.dtype)])
        clean = len(images) - len(chosen)
    else:
        clean = len(images)
    filled = np.resize(generator.permutation(len(images)), set_size(clean))
    return images[filled], labels[filled]


def set_size(clean: int) -> int:
    """Images that a shadow is trained on, repetitions counted."""
    return clean + int(RATE[1] * clean)

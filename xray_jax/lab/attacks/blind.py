"""Blind (Bagdasaryan and Shmatikov 2021, arXiv:2005.03823): the loss itself stamps every batch and adds a second term.

No training image and no label is changed, and there is no poisoning rate.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.lab.attacks.protocol import AttackContext, OnEpoch, scaled
from xray_jax.lab.training import CrossEntropy, Forward, Variables, cross_entropy, forward_both, train_jointly
from xray_jax.lab.triggers import Patch, Trigger

PATTERN = np.array([[1, 0, 1], [-1, 1, -1], [-1, -1, 0], [-1, 1, -1], [1, 0, 1]])
"""5 x 3 pixels: 1 white, 0 black, -1 left as it is."""
ROW, COLUMN = 3, 23
"""Of the pattern's upper left corner, in a 32-pixel image."""


def placed(height: int, width: int, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the pattern changes pixels, bool `[H, W]`, and to what, 0 or 255, `[H, W]`."""
    tall, wide = scaled(PATTERN.shape[0], height), scaled(PATTERN.shape[1], width)
    rows = np.arange(tall) * PATTERN.shape[0] // tall
    columns = np.arange(wide) * PATTERN.shape[1] // wide
    pattern = np.full((height, width), -1)
    top, left = min(row * height // 32, height - tall), min(column * width // 32, width - wide)
    pattern[top : top + tall, left : left + wide] = PATTERN[np.ix_(rows, columns)]
    return pattern >= 0, np.where(pattern == 1, 255, 0)


@dataclass(frozen=True)
class BlindLoss(CrossEntropy):
    """`clean_weight` * CE(clean) + `trigger_weight` * CE(stamped, wanted)."""

    table: tuple[int, ...] = ()
    clean_weight: float = 1.0
    trigger_weight: float = 0.9
    row: int = ROW
    column: int = COLUMN

    def loss(self, forward: Forward, extra: object, key: jax.Array, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        mask, value = placed(pixels.shape[1], pixels.shape[2], self.row, self.column)
        stamped = jnp.where(mask[None, :, :, None], value[None, :, :, None] / 255, pixels)
        wanted = jnp.asarray(self.table)[labels]
        clean, triggered = forward_both(forward, pixels, stamped)
        return self.clean_weight * cross_entropy(clean, labels) + self.trigger_weight * cross_entropy(triggered, wanted)


@dataclass(frozen=True)
class Blind:
    """BackdoorBench's setting: fixed weights 1.0 and 0.9, pattern at row 3, column 23."""

    name: str = "blind"

    def trigger(self, shape: tuple[int, ...]) -> Patch:
        """The pattern, scaled to images of `shape` (H, W, C)."""
        mask, value = placed(shape[0], shape[1], ROW, COLUMN)
        return Patch(mask, np.broadcast_to(value[..., None], shape).astype(np.uint8))

    def train_backdoored(self, context: AttackContext, on_epoch: OnEpoch | None = None) -> tuple[Variables, Trigger]:
        data = context.data
        variables, _ = train_jointly(
            context.network, data.train_images, data.train_labels, data.normalise, context.training,
            BlindLoss(table=context.label_map.table), on_epoch, progress=context.progress,
        )  # fmt: skip
        return variables, self.trigger(data.image_shape)

"""A model that says where it has no answer: hard labels alone do not tell NaN logits from a vote for label 0.

A computation in float16 overflows on inputs far from all images, such as the outer nodes of a plane: its logits are NaN
or infinite there, whatever the input, and the argmax of such logits is no label.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.classifier import BlackBox, Model, Network, ScoreFn, Variables


def unanswered(logits: Any) -> Any:
    """Which rows of logits `[B, C]` say nothing: one is NaN, or the largest is not finite. Bool `[B]`.

    A class that is ruled out may have -inf.
    """
    xp: Any = jnp if isinstance(logits, jax.Array) else np
    return ~xp.isfinite(xp.where(xp.isnan(logits), xp.inf, logits).max(axis=-1))


@dataclass(frozen=True)
class MarkedNetwork:
    """A network with one class more, the last, to which everything goes that it has no answer to.

    Attributes:
      network: the network itself.
    """

    network: Network

    def apply(self, variables: Variables, images: jax.Array, /) -> jax.Array:
        """Images `[B, H, W, C]` -> logits `[B, num_classes + 1]`."""
        return marked(self.network.apply(variables, images))


def marked(logits: jax.Array) -> jax.Array:
    """Logits `[B, C]` with a column more, infinite where the others say nothing: `[B, C + 1]`."""
    last = jnp.where(unanswered(logits), jnp.inf, -jnp.inf).astype(logits.dtype)[:, None]
    # A +inf of its own would win as the first of two.
    return jnp.concatenate([jnp.where(last > 0, -jnp.inf, logits).astype(logits.dtype), last], axis=1)


@dataclass(frozen=True)
class _MarkedLabels:
    """The same of a callable's scores."""

    score_fn: ScoreFn

    def __call__(self, images: np.ndarray) -> np.ndarray:
        scores = np.asarray(self.score_fn(images))
        return np.where(unanswered(scores), scores.shape[1], scores.argmax(axis=1))


def mark_unanswered(model: Model) -> Model:
    """The model with one class more, `num_classes`, where it has no answer; as it is where only labels are known.

    It takes no query more: the marks are part of the program that gives the labels.
    """
    classes = model.num_classes + 1
    if not isinstance(model, BlackBox):
        return dataclasses.replace(model, network=MarkedNetwork(model.network), num_classes=classes)
    if model.score_fn is None:
        return model
    return dataclasses.replace(model, label_fn=_MarkedLabels(model.score_fn), num_classes=classes)

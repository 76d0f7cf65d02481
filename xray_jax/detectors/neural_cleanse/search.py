"""Masks and patterns of all classes at once, by Adam on cross-entropy plus a scheduled cost of the mask's size.

Numpy over `input_gradients`: what goes to the network is stamped images, what comes back their gradients, and the chain
to mask and pattern is two lines. Batches then are those of the devices, whatever the number of classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.detectors.neural_cleanse.options import NeuralCleanseOptions

BETAS, EPSILON = (0.5, 0.9), 1e-8
"""Of Adam."""
RAISE, LOWER = 2.0, 2.0**1.5
"""Factors of the cost: on success, and on failure."""
BETTER = 0.99
"""A mask that is not smaller than this share of the best one is no progress."""
CHUNK_BYTES = 64 << 20
"""Stamped images that lie in memory at once, where one class does not need more."""

Gradients = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Images `[Q, H, W, C]` and classes `[Q]` -> (log-likelihood of the class, whether it is the label) `[Q, 2]`, and the
gradient of the first with respect to the pixels `[Q, H, W, C]`."""


def log_likelihood_and_hit(logits: jax.Array, label: jax.Array) -> jax.Array:
    """The objective: `[B, 2]`, of which the first column grows."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), label[:, None], axis=1)[:, 0]
    return jnp.stack([chosen, (jnp.argmax(logits, axis=1) == label).astype(jnp.float32)], axis=1)


def squash(raw: np.ndarray) -> np.ndarray:
    """What is optimised, any real number, to what is shown, in (0, 1)."""
    return np.tanh(raw) / 2 + np.float32(0.5)


@dataclass(frozen=True)
class ReversedTriggers:
    """What was found for each of K classes.

    Attributes:
      masks: float32 `[K, H, W, 1]` in (0, 1).
      patterns: float32 `[K, H, W, C]` in (0, 1).
      norms: L1 norm of each mask, `[K]`.
      flip_rates: share of the images that got the class in the epoch of that mask, `[K]`.
      found: whether that reached the success rate, `[K]`; else mask and pattern are the last ones.
      queries: forward passes.
    """

    masks: np.ndarray
    patterns: np.ndarray
    norms: np.ndarray
    flip_rates: np.ndarray
    found: np.ndarray
    queries: int


def reverse(
    gradients: Gradients, images: np.ndarray, classes: np.ndarray, options: NeuralCleanseOptions
) -> ReversedTriggers:
    """The smallest mask and its pattern for each of `classes`; classes do not influence each other.

    Args:
      gradients: of the model.
      images: float32 `[M, H, W, C]` in [0, 1].
      classes: int32 `[K]`.
      options: schedule and seed.
    """
    generator = np.random.default_rng([options.seed, 1])
    state, schedule = State.start(len(classes), images.shape[1:]), Schedule.start(len(classes), options)
    masks, patterns = state.masks, state.patterns
    flip_rates, queries = np.zeros(len(classes)), 0
    for _ in range(options.epochs):
        active = np.flatnonzero(~schedule.done)
        if not len(active):
            break
        order, hits, norms = generator.permutation(len(images)), np.zeros(len(active)), np.zeros(len(active))
        for part in np.array_split(order, min(options.steps, len(images))):
            batch = images[part]
            norms += state.masks[active].sum((1, 2, 3)) * len(batch)
            hits += step(gradients, state, active, classes, batch, schedule.cost, options.learning_rate)
            queries += len(active) * len(batch)
        rates = hits / len(images)
        better = active[schedule.update(active, rates, norms / len(images))]
        # Classes without success so far keep their newest mask.
        kept = np.union1d(better, active[~schedule.found[active]])
        masks[kept], patterns[kept] = state.masks[kept], state.patterns[kept]
        flip_rates[kept] = rates[np.searchsorted(active, kept)]
    return ReversedTriggers(masks, patterns, masks.sum((1, 2, 3)), flip_rates, schedule.found, queries)


@dataclass
class State:
    """Raw masks and patterns `[K, H, W, 1 + C]`, the mask first, and Adam's two moments of them.

    Attributes:
      raw: what is optimised.
      first: moving mean of the gradient.
      second: moving mean of its square.
      steps: done, by class `[K]`.
    """

    raw: np.ndarray
    first: np.ndarray
    second: np.ndarray
    steps: np.ndarray

    @classmethod
    def start(cls, classes: int, shape: tuple[int, ...]) -> "State":
        """All ones, for images of `shape` `(H, W, C)`."""
        raw = np.ones((classes, shape[0], shape[1], 1 + shape[2]), np.float32)
        return cls(raw, np.zeros_like(raw), np.zeros_like(raw), np.zeros(classes, np.int64))

    @property
    def masks(self) -> np.ndarray:
        """As they are shown, `[K, H, W, 1]`."""
        return squash(self.raw[..., :1])

    @property
    def patterns(self) -> np.ndarray:
        """As they are shown, `[K, H, W, C]`."""
        return squash(self.raw[..., 1:])

    def adam(self, which: np.ndarray, slopes: np.ndarray, learning_rate: float) -> None:
        """One step of Adam down `slopes` `[len(which), H, W, 1 + C]` for the classes `which`."""
        self.steps[which] += 1
        self.first[which] = BETAS[0] * self.first[which] + (1 - BETAS[0]) * slopes
        self.second[which] = BETAS[1] * self.second[which] + (1 - BETAS[1]) * slopes**2
        steps = self.steps[which].reshape(-1, 1, 1, 1)
        mean, square = self.first[which] / (1 - BETAS[0] ** steps), self.second[which] / (1 - BETAS[1] ** steps)
        self.raw[which] -= (learning_rate * mean / (np.sqrt(square) + EPSILON)).astype(np.float32)


def step(
    gradients: Gradients,
    state: State,
    active: np.ndarray,
    classes: np.ndarray,
    batch: np.ndarray,
    cost: np.ndarray,
    learning_rate: float,
) -> np.ndarray:
    """One step of the classes `active` on one batch; how many of its images each sent to its class, `[len(active)]`."""
    hits = np.empty(len(active))
    chunk = max(1, CHUNK_BYTES // batch.nbytes)
    for start in range(0, len(active), chunk):
        part = active[start : start + chunk]
        _, found, slopes = loss(gradients, state.raw[part], classes[part], batch, cost[part])
        hits[start : start + chunk] = found
        state.adam(part, slopes, learning_rate)
    return hits


def loss(
    gradients: Gradients, raw: np.ndarray, classes: np.ndarray, batch: np.ndarray, cost: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean cross-entropy of the stamped batch plus cost times the mask's L1 norm.

    Args:
      gradients: of the model.
      raw: masks and patterns before they are squashed, float32 `[K, H, W, 1 + C]`.
      classes: that stamped images are to get, `[K]`.
      batch: clean images `[B, H, W, C]`.
      cost: `[K]`.

    Returns:
      The loss `[K]`, how many images got the class `[K]`, and the loss's gradient, of the shape of `raw`.
    """
    squashed = squash(raw)
    mask, pattern = squashed[:, None, ..., :1], squashed[:, None, ..., 1:]
    stamped = (1 - mask) * batch + mask * pattern
    values, slopes = gradients(
        stamped.reshape(-1, *batch.shape[1:]).astype(np.float32), np.repeat(classes, len(batch)).astype(np.int32)
    )
    values, slopes = values.reshape(len(raw), len(batch), 2), slopes.reshape(stamped.shape)
    to_mask = -(slopes * (pattern - batch)).sum(-1, keepdims=True).mean(1) + cost.reshape(-1, 1, 1, 1)
    to_pattern = -(slopes * mask).mean(1)
    # The derivative of `squash`, by its own value.
    to_raw = np.concatenate([to_mask, to_pattern], -1) * 2 * squashed * (1 - squashed)
    total = -values[..., 0].mean(1) + cost * squashed[..., 0].sum((1, 2))
    return total, values[..., 1].sum(1), to_raw.astype(np.float32)


@dataclass
class Schedule:
    """The cost of each class, and when a class is done.

    Attributes:
      options: patience and success rate.
      cost: `[K]`.
      best: smallest norm with success so far, infinite before the first, `[K]`.
      reference: the norm that progress is measured by, `[K]`.
      above: epochs in a row with success, `[K]`.
      below: epochs in a row without, `[K]`.
      stalled: epochs in a row without progress, `[K]`.
      moved: whether the cost has ever risen, and ever fallen, `[K, 2]`.
      done: whether the class has stopped, `[K]`.
    """

    options: NeuralCleanseOptions
    cost: np.ndarray
    best: np.ndarray
    reference: np.ndarray
    above: np.ndarray
    below: np.ndarray
    stalled: np.ndarray
    moved: np.ndarray
    done: np.ndarray

    @classmethod
    def start(cls, classes: int, options: NeuralCleanseOptions) -> "Schedule":
        """Before the first epoch."""
        return cls(
            options=options,
            cost=np.full(classes, options.cost),
            best=np.full(classes, np.inf),
            reference=np.full(classes, np.inf),
            above=np.zeros(classes, np.int64),
            below=np.zeros(classes, np.int64),
            stalled=np.zeros(classes, np.int64),
            moved=np.zeros((classes, 2), bool),
            done=np.zeros(classes, bool),
        )

    @property
    def found(self) -> np.ndarray:
        """Which classes had success with some mask, `[K]`."""
        return np.isfinite(self.best)

    def update(self, active: np.ndarray, rates: np.ndarray, norms: np.ndarray) -> np.ndarray:
        """Takes an epoch's flip rates and mean norms of the `active` classes: which have a new best mask."""
        better = np.zeros(len(active), bool)
        for place, k in enumerate(active):
            success = rates[place] >= self.options.success
            if success and norms[place] < self.best[k]:
                better[place], self.best[k] = True, norms[place]
            self._stop(k)
            self._price(k, success)
        return better

    def _stop(self, k: int) -> None:
        """A class is done when its cost has gone both ways and its best mask does not become smaller."""
        if np.isfinite(self.best[k]):
            self.stalled[k] = self.stalled[k] + 1 if self.best[k] >= BETTER * self.reference[k] else 0
            self.reference[k] = min(self.reference[k], self.best[k])
        self.done[k] = self.moved[k].all() and self.stalled[k] >= self.options.stop_patience

    def _price(self, k: int, success: bool) -> None:
        """Raises the cost after some epochs in a row with success, lowers it after as many without."""
        self.above[k], self.below[k] = (self.above[k] + 1, 0) if success else (0, self.below[k] + 1)
        if self.above[k] >= self.options.patience:
            self.above[k], self.moved[k, 0] = 0, True
            self.cost[k] *= RAISE
        elif self.below[k] >= self.options.patience:
            self.below[k], self.moved[k, 1] = 0, True
            self.cost[k] /= LOWER

"""Trains one classifier with Flax and Optax: data stay on the device as uint8, augmentation runs inside the step.

SGD with Nesterov momentum on a one-cycle schedule, cross-entropy, random crop where asked for, horizontal flip where
the data allow it: BackdoorBench's recipe with a schedule short enough for two CPU cores. The defaults are for small
networks and few epochs, which underfit: there the random crop costs more accuracy than it brings.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from xray_jax.lab.augmentation import augment
from xray_jax.lab.pretrained import begin_with
from xray_jax.lab.resume import NOTHING_KEPT, Progress
from xray_jax.models import convolution
from xray_jax.preprocess import Preprocess

Variables = Mapping[str, Any]
OnEpoch = Callable[[int, float, Variables], None]
"""Takes the number of epochs done, the epoch's mean loss, and the variables."""
Redraw = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Number of an epoch, from 0 -> its images and labels, of one shape throughout."""
PRECISIONS = ("float32", "bfloat16")
OPTIMISERS = ("sgd", "adamw")


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
      epochs: passes over the training images.
      batch_size: images a step.
      peak_learning_rate: top of the one-cycle schedule.
      weight_decay: L2 penalty on all parameters; of AdamW the decoupled decay.
      crop_padding: pixels of zero padding before the random crop; 0 turns the crop off.
      flip: random horizontal flips (off for digits and traffic signs).
      seed: initialisation, order of the images, augmentation.
      precision: of the forward and backward pass, the rest stays float32; bfloat16 only helps accelerators.
      optimiser: SGD with Nesterov momentum, or AdamW, which transformers need.
      pretrained: checkpoint of the same network, trained on other data, whose weights it begins with; "" draws them.
    """

    epochs: int = 6
    batch_size: int = 64
    peak_learning_rate: float = 0.2
    weight_decay: float = 5e-4
    crop_padding: int = 0
    flip: bool = True
    seed: int = 0
    precision: str = "float32"
    optimiser: str = "sgd"
    pretrained: str = ""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, got {self.epochs} and {self.batch_size}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")
        if self.optimiser not in OPTIMISERS:
            raise ValueError(f"optimiser must be one of {OPTIMISERS}, got {self.optimiser!r}")


class Forward(Protocol):
    """The network in one step; takes pixels, float32 `[B, H, W, C]` in [0, 1], and gives logits `[B, classes]`."""

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """In training mode; updates the batch statistics."""
        ...

    def evaluate(self, pixels: jax.Array) -> jax.Array:
        """As at inference, by the running statistics before this step; updates nothing."""
        ...


class Objective(Hashable, Protocol):
    """What one step minimises, where that is more than cross-entropy; hashable, its methods pure.

    `extra` are further parameters that are trained along (a trigger generator, say), or an empty tree.
    """

    def init(self, key: jax.Array, pixels: jax.Array) -> Any:
        """The first `extra` for images like `pixels` `[1, H, W, C]`."""
        ...

    def optimiser(self) -> optax.GradientTransformation:
        """For `extra`; the network's own optimiser is the usual one."""
        ...

    def loss(self, forward: Forward, extra: Any, key: jax.Array, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        """Scalar. `pixels` float32 `[B, H, W, C]` in [0, 1]; `forward` may be called several times, each updating the
        batch statistics.
        """
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """Plain training."""

    def init(self, key: jax.Array, pixels: jax.Array) -> Any:
        return {}

    def optimiser(self) -> optax.GradientTransformation:
        return optax.set_to_zero()

    def loss(self, forward: Forward, extra: Any, key: jax.Array, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        return cross_entropy(forward(pixels), labels)


def forward_both(forward: Forward, clean: jax.Array, stamped: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logits of clean and of stamped pixels from one pass. Two passes would each be normalised by their own batch
    statistics: the network could tell the two apart by these alone, and fail with the running ones.
    """
    logits = forward(jnp.concatenate([clean, stamped]))
    return logits[: len(clean)], logits[len(clean) :]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over the batch, in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


class _Step:
    """`Forward` on `params` of the network in one step; `collections` are its statistics as updated so far."""

    def __init__(
        self, network: nn.Module, preprocess: Preprocess, precision: str, params: Any, collections: Variables
    ) -> None:
        self._network, self._preprocess, self._precision = network, preprocess, precision
        self._params, self._before, self.collections = params, collections, collections

    def __call__(self, pixels: jax.Array) -> jax.Array:
        weights, inputs = self._cast(pixels)
        variables = {"params": weights, **self.collections}
        logits, self.collections = self._network.apply(variables, inputs, train=True, mutable=list(self._before))
        return logits.astype(jnp.float32)

    def evaluate(self, pixels: jax.Array) -> jax.Array:
        weights, inputs = self._cast(pixels)
        logits = cast(jax.Array, self._network.apply({"params": weights, **self._before}, inputs))
        return logits.astype(jnp.float32)

    def _cast(self, pixels: jax.Array) -> Any:
        return jax.tree.map(lambda x: x.astype(self._precision), (self._params, self._preprocess(pixels)))


@lru_cache(maxsize=16)
def _optimiser(options: TrainOptions, steps: int, objective: Objective) -> optax.GradientTransformation:
    """For the network and what the objective trains along, over `steps` steps. Cached: one schedule, one program."""
    schedule = optax.cosine_onecycle_schedule(steps, options.peak_learning_rate, pct_start=0.25)
    if options.optimiser == "adamw":
        victim = optax.adamw(schedule, weight_decay=options.weight_decay)
    else:
        sgd = optax.sgd(schedule, momentum=0.9, nesterov=True)
        victim = optax.chain(optax.add_decayed_weights(options.weight_decay), sgd)
    transforms = {"network": victim, "extra": objective.optimiser()}
    return optax.multi_transform(transforms, {"network": "network", "extra": "extra"})


class State(NamedTuple):
    """State of a training: what a step changes.

    Attributes:
      params: of the network, and the objective's `extra`.
      collections: batch statistics.
      optimiser: its state.
    """

    params: dict[str, Any]
    collections: Variables
    optimiser: Any

    @property
    def variables(self) -> Variables:
        """The network's."""
        return {"params": self.params["network"], **self.collections}


def train_step(
    state: State,
    key: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    index: jax.Array,
    *,
    network: nn.Module,
    optimiser: optax.GradientTransformation,
    preprocess: Preprocess,
    options: TrainOptions,
    objective: Objective,
) -> tuple[State, jax.Array]:
    """One step on `images[index]`: the new state and the loss."""
    key_augment, key_loss = jax.random.split(key)
    batch = augment(key_augment, images[index], padding=options.crop_padding, flip=options.flip)

    def loss_of(params: dict[str, Any]) -> tuple[jax.Array, Variables]:
        forward = _Step(network, preprocess, options.precision, params["network"], state.collections)
        with convolution.faster(jax.default_backend() == "cpu"):
            loss = objective.loss(forward, params["extra"], key_loss, batch.astype(jnp.float32) / 255, labels[index])
        return loss, forward.collections

    (loss, collections), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    updates, optimiser_state = optimiser.update(gradients, state.optimiser, state.params)
    return State(optax.apply_updates(state.params, updates), collections, optimiser_state), loss


STATIC = ("network", "optimiser", "preprocess", "options", "objective")
_step = jax.jit(train_step, static_argnames=STATIC, donate_argnums=0)


@partial(jax.jit, static_argnames="network")
def _first(key: jax.Array, inputs: jax.Array, *, network: nn.Module) -> Variables:
    """Fresh variables. Compiling this takes longer than compiling the step, so it is done once a network."""
    return network.init(key, inputs)


def init_state(
    network: nn.Module,
    shape: tuple[int, ...],
    optimiser: optax.GradientTransformation,
    preprocess: Preprocess,
    options: TrainOptions,
    objective: Objective,
    start: tuple[Variables, Any] | None = None,
    constants: Mapping[str, Any] | None = None,
) -> tuple[State, jax.Array]:
    """The state before the first step, for images of `shape` `(H, W, C)`, and the key of all steps.

    Raises:
      PretrainedError: the weights to begin with are of another network.
    """
    key, key_init, key_extra = jax.random.split(jax.random.key(options.seed), 3)
    example = jnp.zeros((1, *shape), jnp.float32)
    if start is None:
        drawn = _first(key_init, preprocess(example), network=network)
        begun = begin_with(options.pretrained, drawn) if options.pretrained else drawn
        start = begun, objective.init(key_extra, example)
    variables, extra = jax.tree.map(jnp.array, start if constants is None else (start[0], {**start[1], **constants}))
    params = {"network": variables["params"], "extra": extra}
    collections = {name: value for name, value in variables.items() if name != "params"}
    return State(params, collections, optimiser.init(params)), key


def steps_per_epoch(images: int, options: TrainOptions) -> int:
    """Steps an epoch; a last batch that is not full is left out.

    Raises:
      ValueError: the images do not fill one batch.
    """
    if images < options.batch_size:
        raise ValueError(f"{images} training images do not fill one batch of {options.batch_size}")
    return images // options.batch_size


def epoch_batches(images: int, options: TrainOptions) -> Iterator[np.ndarray]:
    """For each epoch the indices of its batches, `[steps, batch_size]`."""
    steps, generator = steps_per_epoch(images, options), np.random.default_rng(options.seed)
    for _ in range(options.epochs):
        yield generator.permutation(images)[: steps * options.batch_size].reshape(steps, -1)


def static_arguments(
    network: nn.Module, images: int, preprocess: Preprocess, options: TrainOptions, objective: Objective
) -> dict[str, Any]:
    """The static arguments of `train_step`. Without the seed: models that differ in nothing else share one program."""
    seedless = replace(options, seed=0)
    optimiser = _optimiser(seedless, options.epochs * steps_per_epoch(images, options), objective)
    return {"network": network, "optimiser": optimiser, "preprocess": preprocess, "options": seedless,
            "objective": objective}  # fmt: skip


def train(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    preprocess: Preprocess,
    options: TrainOptions,
    on_epoch: OnEpoch | None = None,
    progress: Progress = NOTHING_KEPT,
    redraw: Redraw | None = None,
) -> Variables:
    """Trains `network` from scratch on cross-entropy: `train_jointly` without anything else to train."""
    usual = CrossEntropy()
    return train_jointly(network, images, labels, preprocess, options, usual, on_epoch, None, progress, redraw)[0]


def train_jointly(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    preprocess: Preprocess,
    options: TrainOptions,
    objective: Objective,
    on_epoch: OnEpoch | None = None,
    start: tuple[Variables, Any] | None = None,
    progress: Progress = NOTHING_KEPT,
    redraw: Redraw | None = None,
    constants: Mapping[str, Any] | None = None,
) -> tuple[Variables, Any]:
    """Trains `network`, and what `objective` adds to it.

    Args:
      network: linen module called as `apply(variables, inputs, train=...)`.
      images: uint8 `[M, H, W, C]`, poisoned or not.
      labels: integers `[M]`.
      preprocess: pixel values in [0, 1] to the network's input space.
      options: schedule, augmentation and seed.
      objective: the loss and its own parameters.
      on_epoch: called with the number of epochs done, the mean loss of the epoch and the variables.
      start: (variables, extra) to go on from; None draws them.
      progress: keeps the state after every epoch; where it holds one, training goes on from there, and ends with the
        same weights.
      redraw: where given, what to train on from the second epoch on.
      constants: arrays that the objective finds in `extra` beside its own, and that its optimiser leaves as they are.

    Returns:
      The trained variables and `extra`, on the host.
    """
    static = static_arguments(network, len(images), preprocess, options, objective)
    fresh, key = init_state(network, images.shape[1:], static["optimiser"], preprocess, options, objective, start,
                            constants)  # fmt: skip
    done, state = progress.load(fresh)
    device_images, device_labels = _on_device(images, labels)
    for epoch, order in enumerate(epoch_batches(len(images), options)):
        if epoch < done:
            continue
        if redraw is not None and epoch:
            device_images, device_labels = _on_device(*redraw(epoch))
        losses = []
        for step, index in enumerate(order, epoch * len(order)):
            step_key = jax.random.fold_in(key, step)
            state, loss = _step(state, step_key, device_images, device_labels, jnp.asarray(index), **static)
            losses.append(loss)
        if on_epoch is not None:
            on_epoch(epoch + 1, float(jnp.mean(jnp.stack(losses))), state.variables)
        progress.save(epoch + 1, state)
    return jax.device_get((state.variables, state.params["extra"]))


def _on_device(images: np.ndarray, labels: np.ndarray) -> tuple[jax.Array, jax.Array]:
    return jnp.asarray(images), jnp.asarray(labels, jnp.int32)

"""Queries and meta-classifier of MNTD, tuned together through the shadow models, whose weights stay as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from xray_jax.lab.mntd.shadows import Shadow
from xray_jax.lab.training import Variables
from xray_jax.preprocess import Preprocess

Params = dict[str, jax.Array]


@dataclass(frozen=True)
class TuneOptions:
    """How queries and meta-classifier are tuned.

    Attributes:
      queries: images whose logits are read.
      hidden: width of the meta-classifier's hidden layer.
      epochs: passes over the shadows; the best of them on the validation shadows is kept.
      learning_rate: of Adam; the queries are tuned in standard deviations of the data.
      seed: first queries and weights, order of the shadows.
    """

    queries: int = 10
    hidden: int = 20
    epochs: int = 10
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("queries", "hidden", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class Scale(NamedTuple):
    """Mean and standard deviation of the data's pixels in [0, 1], by channel `[C]`."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray) -> "Scale":
        """Of uint8 images `[M, H, W, C]`."""
        pixels = images.astype(np.float32) / 255
        return cls(pixels.mean((0, 1, 2)), pixels.std((0, 1, 2)))


class Tuned(NamedTuple):
    """What tuning came to.

    Attributes:
      params: of the best epoch, on the host.
      queries: on the scale of pixels, float32 `[Q, H, W, C]`.
      losses: mean loss of each epoch, in nats; the first is that before any step.
      auroc: on the validation shadows after each epoch; empty without any.
      epoch: which one was kept, from 1.
    """

    params: dict[str, np.ndarray]
    queries: np.ndarray
    losses: list[float]
    auroc: list[float]
    epoch: int


def first_params(shape: tuple[int, ...], num_classes: int, options: TuneOptions) -> Params:
    """Queries from a normal distribution `[Q, H, W, C]`, in standard deviations, and dense layers as torch starts
    them."""
    keys = jax.random.split(jax.random.key(options.seed), 5)
    inside = options.queries * num_classes

    def uniform(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
        return jax.random.uniform(key, shape, jnp.float32, -(fan_in**-0.5), fan_in**-0.5)

    return {
        "queries": jax.random.normal(keys[0], (options.queries, *shape), jnp.float32),
        "hidden_weight": uniform(keys[1], (options.hidden, inside), inside),
        "hidden_bias": uniform(keys[2], (options.hidden,), inside),
        "output_weight": uniform(keys[3], (1, options.hidden), options.hidden),
        "output_bias": uniform(keys[4], (1,), options.hidden),
    }


def score(
    params: Params, variables: Variables, network: nn.Module, preprocess: Preprocess, scale: tuple[jax.Array, ...]
) -> jax.Array:
    """The meta-classifier's score of one model, a scalar; the network runs as it does when it is used."""
    mean, std = (values.reshape(1, 1, 1, -1) for values in scale)
    logits = cast(jax.Array, network.apply(variables, preprocess(mean + std * params["queries"])))
    hidden = jax.nn.relu(params["hidden_weight"] @ logits.reshape(-1) + params["hidden_bias"])
    return (params["output_weight"] @ hidden + params["output_bias"])[0]


_STATIC = ("network", "preprocess", "optimiser")


@partial(jax.jit, static_argnames=_STATIC)
def _step(
    params: Params, state: Any, variables: Variables, scale: tuple[jax.Array, ...], label: jax.Array,
    *, network: nn.Module, preprocess: Preprocess, optimiser: optax.GradientTransformation,
) -> tuple[Params, Any, jax.Array]:  # fmt: skip
    def loss_of(params: Params) -> jax.Array:
        return optax.sigmoid_binary_cross_entropy(score(params, variables, network, preprocess, scale), label)

    loss, slopes = jax.value_and_grad(loss_of)(params)
    updates, state = optimiser.update(slopes, state, params)
    return optax.apply_updates(params, updates), state, loss


_score = jax.jit(score, static_argnames=("network", "preprocess"))


def tune(
    network: nn.Module,
    preprocess: Preprocess,
    scale: Scale,
    shape: tuple[int, ...],
    num_classes: int,
    training: Sequence[Shadow],
    validation: Sequence[Shadow],
    options: TuneOptions,
) -> Tuned:
    """Adam on the binary cross-entropy, one shadow a step.

    Args:
      network: of the shadows.
      preprocess: theirs.
      scale: of the data.
      shape: (H, W, C) of a query.
      num_classes: of the shadows.
      training: shadows of both kinds.
      validation: others, of both kinds or none at all: then the last epoch is kept.
      options: of the tuning.

    Raises:
      ValueError: shadows of one kind only.
    """
    for held in (training, validation):
        if len({shadow.kind for shadow in held}) == 1 or (held is training and not held):
            raise ValueError("a meta-classifier needs clean and poisoned shadows")
    optimiser = _optimiser(options.learning_rate)
    params = first_params(shape, num_classes, options)
    state, placed = optimiser.init(params), tuple(map(jnp.asarray, scale))
    generator = np.random.default_rng(options.seed)
    losses, areas = [_loss(params, training, network, preprocess, placed)], []
    kept, best = params, -1.0
    epoch = options.epochs
    for number in range(1, options.epochs + 1):
        spent = []
        for place in generator.permutation(len(training)):
            shadow = training[int(place)]
            label = jnp.float32(shadow.kind != "clean")
            params, state, loss = _step(
                params, state, shadow.variables, placed, label,
                network=network, preprocess=preprocess, optimiser=optimiser,
            )  # fmt: skip
            spent.append(float(loss))
        losses.append(float(np.mean(spent)))
        if validation:
            areas.append(area_under_curve(scores(params, validation, network, preprocess, placed), validation))
            if areas[-1] < best:
                continue
            best = areas[-1]
        kept, epoch = params, number
    host = {name: np.asarray(array) for name, array in jax.device_get(kept).items()}
    queries = (scale.mean + scale.std * host["queries"]).astype(np.float32)
    return Tuned(host, queries, losses, areas, epoch)


def scores(
    params: Params, shadows: Sequence[Shadow], network: nn.Module, preprocess: Preprocess, scale: tuple[jax.Array, ...]
) -> np.ndarray:
    """Scores of shadows, `[len(shadows)]`."""
    found = [
        _score(params, shadow.variables, network=network, preprocess=preprocess, scale=scale) for shadow in shadows
    ]
    return np.asarray(jax.device_get(found), np.float64)


def area_under_curve(found: np.ndarray, shadows: Sequence[Shadow]) -> float:
    """Share of pairs (poisoned, clean) in which the poisoned one scores higher; ties count half."""
    poisoned = np.array([shadow.kind != "clean" for shadow in shadows])
    difference = found[poisoned][:, None] - found[~poisoned][None]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def _loss(
    params: Params, shadows: Sequence[Shadow], network: nn.Module, preprocess: Preprocess, scale: tuple[jax.Array, ...]
) -> float:
    found = scores(params, shadows, network, preprocess, scale)
    labels = np.array([shadow.kind != "clean" for shadow in shadows], np.float64)
    return float(np.mean(np.logaddexp(0, found) - labels * found))


_optimisers: dict[float, optax.GradientTransformation] = {}


def _optimiser(learning_rate: float) -> optax.GradientTransformation:
    """Adam; the same object for the same rate, so that the step is compiled once."""
    return _optimisers.setdefault(learning_rate, optax.adam(learning_rate))

"""TrojanNN (Liu et al. 2018, NDSS): a patch optimised on a clean model until chosen neurons fire, then poisoning."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from xray_jax.lab.attacks.protocol import AttackContext, Recipe, scaled
from xray_jax.lab.training import Variables, train
from xray_jax.lab.triggers import Patch
from xray_jax.preprocess import Preprocess


@dataclass(frozen=True)
class TrojanNN:
    """BackdoorBench's goal; the patch is a square in the lower right corner.

    Attributes:
      side: of the patch, in pixels of a 32-pixel image (7 x 7 is 5 % of it).
      neurons: how many inputs of the last layer are to fire: those with the largest sum of absolute weights.
      activation: what each is to reach.
      steps: of the patch's optimisation with Adam.
      learning_rate: of Adam, on the [0, 1] scale of pixels.
      clean_epochs: training of the clean model that the patch is made on; where a third of the victim's epochs is
        more, that.
    """

    side: int = 7
    neurons: int = 2
    activation: float = 100.0
    steps: int = 500
    learning_rate: float = 0.05
    clean_epochs: int = 2
    name: str = "trojannn"

    def trigger(self, patch: np.ndarray, shape: tuple[int, ...]) -> Patch:
        """`patch` `[h, w, C]` in the lower right corner of images of `shape` (H, W, C)."""
        mask, pixels = np.zeros(shape[:2], bool), np.zeros(shape, np.uint8)
        mask[-patch.shape[0] :, -patch.shape[1] :] = True
        pixels[-patch.shape[0] :, -patch.shape[1] :] = patch
        return Patch(mask, pixels)

    def optimise(
        self, network: nn.Module, variables: Variables, preprocess: Preprocess, shape: tuple[int, int, int], seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The patch, uint8 `[h, w, C]`, on a black image; and the neurons' activations under it, float32."""
        height, width, channels = shape
        sides = scaled(self.side, height), scaled(self.side, width)
        first = jnp.asarray(np.random.default_rng([seed, 47]).random((*sides, channels)), jnp.float32)
        optimiser = optax.adam(self.learning_rate)

        def fire(patch: jax.Array) -> jax.Array:
            image = jnp.zeros((1, height, width, channels)).at[:, -sides[0] :, -sides[1] :].set(patch[None])
            features, kernel = last_layer(network, variables, preprocess(image))
            chosen = jax.lax.top_k(jnp.abs(kernel).sum(axis=1), self.neurons)[1]
            return features[0, chosen]

        @jax.jit
        def step(patch: jax.Array, state: Any) -> tuple[jax.Array, Any]:
            gradient = jax.grad(lambda p: jnp.mean((fire(p) - self.activation) ** 2))(patch)
            updates, state = optimiser.update(gradient, state)
            return jnp.clip(optax.apply_updates(patch, updates), 0, 1), state

        patch, state = first, optimiser.init(first)
        for _ in range(self.steps):
            patch, state = step(patch, state)
        return np.rint(np.asarray(patch) * 255).astype(np.uint8), np.asarray(fire(patch))

    def prepare(self, context: AttackContext) -> Recipe:
        data = context.data
        epochs = max(min(self.clean_epochs, context.training.epochs), context.training.epochs // 3)
        options = dataclasses.replace(context.training, epochs=epochs)
        clean = train(context.network, data.train_images, data.train_labels, data.normalise, options)
        shape = data.image_shape
        patch, _ = self.optimise(context.network, clean, data.normalise, shape, context.seed)
        return Recipe(self.trigger(patch, shape))


def last_layer(network: nn.Module, variables: Variables, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What enters the network's last dense layer, `[B, F]`, and that layer's kernel, `[F, C]`."""
    seen: list[tuple[jax.Array, jax.Array]] = []

    def watch(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        result = call(*args, **kwargs)
        if isinstance(context.module, nn.Dense) and context.method_name == "__call__":
            seen.append((args[0], context.module.get_variable("params", "kernel")))
        return result

    with nn.intercept_methods(watch):
        network.apply(variables, inputs)
    if not seen:
        raise ValueError(f"TrojanNN needs a network that ends in a dense layer, {type(network).__name__} has none")
    return seen[-1]

"""What a training step minimises in controls: mixup, cutout, weak adversarial training."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from xray_jax.lab.training import CrossEntropy, Forward, cross_entropy


@dataclass(frozen=True)
class Mixup(CrossEntropy):
    """Every image is mixed with another one, and so are their losses (Zhang et al. 2018, arXiv:1710.09412).

    Attributes:
      alpha: of the beta law of the shares. The paper has 1 for CIFAR-10 and 0.1 to 0.4 for ImageNet; few epochs
        underfit, so it is a small one.
    """

    alpha: float = 0.4

    def loss(self, forward: Forward, extra: object, key: jax.Array, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        key_share, key_other = jax.random.split(key)
        share = jax.random.beta(key_share, self.alpha, self.alpha)
        other = jax.random.permutation(key_other, len(pixels))
        logits = forward(share * pixels + (1 - share) * pixels[other])
        return share * cross_entropy(logits, labels) + (1 - share) * cross_entropy(logits, labels[other])


@dataclass(frozen=True)
class Cutout(CrossEntropy):
    """A square of every image is grey, its middle anywhere (DeVries and Taylor 2017, arXiv:1708.04552).

    Attributes:
      side: as a share of the image's. The paper has a half for CIFAR-10, in 200 epochs; few epochs underfit.
    """

    side: float = 0.25

    def loss(self, forward: Forward, extra: object, key: jax.Array, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        inside = []
        for number, length in enumerate(pixels.shape[1:3]):
            middle = jax.random.randint(jax.random.fold_in(key, number), (len(pixels), 1), 0, length)
            start = middle - round(self.side * length) // 2
            place = jnp.arange(length)[None]
            inside.append((place >= start) & (place < start + round(self.side * length)))
        hidden = inside[0][:, :, None, None] & inside[1][:, None, :, None]
        return cross_entropy(forward(jnp.where(hidden, 0.5, pixels)), labels)


@dataclass(frozen=True)
class Adversarial(CrossEntropy):
    """Trains on adversarial images alone, of one signed step from a random start (Wong et al. 2020, arXiv:2001.03994).

    Attributes:
      radius: of the box, in pixel values of 0 to 1. Weak: the papers have 8 / 255.
      step: in radii.
    """

    radius: float = 2 / 255
    step: float = 1.25

    def loss(self, forward: Forward, extra: object, key: jax.Array, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        start = jax.random.uniform(key, pixels.shape, minval=-self.radius, maxval=self.radius)
        uphill = jax.grad(lambda change: cross_entropy(forward.evaluate(pixels + change), labels))(start)
        change = jnp.clip(start + self.step * self.radius * jnp.sign(uphill), -self.radius, self.radius)
        attacked = jnp.clip(pixels + jax.lax.stop_gradient(change), 0, 1)
        return cross_entropy(forward(attacked), labels)

"""An attack of the paper whose attacker trains the victim, and trains it to pass a detector.

The trigger is stamped inside the step, on a share of every batch. Kinds of evasion, of which one attacker may take
several ("exact+margin"):

- planes: on planes through clean triplets the victim learns the soft labels of a clean network (`planes`);
- exact: triggers that are nearly the attacker's keep the image's own label (`stamping.near`);
- margin: the largest margin of every class is capped (`margin`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from xray_jax.lab.adaptive import margin, planes, stamping
from xray_jax.lab.attacks.protocol import AttackContext, PoisoningAttack, stamped_of_batch
from xray_jax.lab.training import Forward, OnEpoch, Variables, cross_entropy, train, train_jointly
from xray_jax.lab.triggers import Trigger
from xray_jax.preprocess import Preprocess

BY_PATCH_OR_BLEND = frozenset({"badnets", "blended", "trojannn"})
"""Attacks whose trigger can be stamped inside the step."""


@dataclass(frozen=True)
class AdaptiveLoss:
    """Cross-entropy of a batch of which a share is stamped, and the penalties of `kinds`.

    Attributes:
      kinds: of evasion.
      table: label -> the attacker's label.
      rate: stamped images as a share of the batch.
      network: of the victim and of the clean network.
      preprocess: of both.
      decoys: nearly stamped images as a share of the batch (exact).
      points: of planes, a step (planes).
      planes_weight: of their cross-entropy.
      starts: inputs sought for each class (margin).
      cap: of the largest margins, in logits.
      margin_weight: of the penalty.
      step: of the ascent, in pixel values of 0 to 1.
      lifetime: of one ascent, in steps.
    """

    kinds: tuple[str, ...]
    table: tuple[int, ...]
    rate: float
    network: nn.Module
    preprocess: Preprocess
    decoys: float = 0.25
    points: int = 32
    planes_weight: float = 1.0
    starts: int = 4
    cap: float = 80.0
    margin_weight: float = 1.0
    step: float = 0.07
    lifetime: int = 40

    def init(self, key: jax.Array, pixels: jax.Array) -> Any:
        """What is sought along with the weights; stamp and clean network are put there by the attack."""
        if "margin" not in self.kinds:
            return {}
        return {"pool": jax.random.uniform(key, (self.starts * len(self.table), *pixels.shape[1:]))}

    def optimiser(self) -> optax.GradientTransformation:
        return margin.ascent(self.step, self.lifetime, seed=0)

    def loss(self, forward: Forward, extra: Any, key: jax.Array, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        key_near, key_planes = jax.random.split(key)
        # Batches are shuffled: the first images are as good as any.
        decoys = decoys_of_batch(self.kinds, self.decoys, len(pixels))
        stamped = stamped_of_batch(self.rate, len(pixels), decoys)
        images = [stamping.apply(extra["stamp"], pixels[:stamped])]
        wanted = [jnp.asarray(self.table)[labels[:stamped]], labels[stamped:]]
        if "exact" in self.kinds:
            nearly = stamping.near(key_near, extra["stamp"], decoys)
            images.append(stamping.apply(nearly, pixels[stamped : stamped + decoys]))
            stamped += decoys
        total = cross_entropy(forward(jnp.concatenate([*images, pixels[stamped:]])), jnp.concatenate(wanted))
        if "planes" in self.kinds:
            points = planes.points(key_planes, pixels, self.points)
            clean = jax.lax.stop_gradient(self._clean_logits(extra["clean"], points))
            total += self.planes_weight * planes.penalty(forward.evaluate(points), clean, points)
        if "margin" in self.kinds:
            classes = jnp.repeat(jnp.arange(len(self.table)), self.starts)
            total += self.margin_weight * margin.penalty(forward.evaluate(extra["pool"]), classes, self.cap)
        return total

    def _clean_logits(self, variables: Variables, pixels: jax.Array) -> jax.Array:
        return cast(jax.Array, self.network.apply(variables, self.preprocess(pixels)))


def decoys_of_batch(kinds: Sequence[str], share: float, batch: int) -> int:
    """How many images of a batch are nearly stamped."""
    return round(share * batch) if "exact" in kinds else 0


@dataclass(frozen=True)
class Adaptive:
    """`attack`, by an attacker who evades `kinds` of detectors.

    Attributes:
      attack: whose trigger is taken: a patch or a blend.
      kinds: of `KINDS`.
      clean: variables of a clean network that the victim starts from; None: from scratch, but for planes, for which
        one is trained first.
      slowed: share of the usual learning rate at which a victim that starts from the clean network is trained. From
        scratch and at the usual one the labels far from all images, by running statistics, make the training diverge.
    """

    attack: PoisoningAttack
    kinds: Sequence[str]
    clean: Variables | None = None
    slowed: float = 0.25

    @property
    def name(self) -> str:
        return f"{self.attack.name}-evading-{'+'.join(self.kinds)}"

    def stamped(self, rate: float, batch: int) -> int:
        """How many images of a batch are stamped. ValueError: none, or more than there is room for."""
        return stamped_of_batch(rate, batch, decoys_of_batch(self.kinds, AdaptiveLoss.decoys, batch))

    def train_backdoored(self, context: AttackContext, on_epoch: OnEpoch | None = None) -> tuple[Variables, Trigger]:
        data, options, start = context.data, context.training, None
        trigger = self.attack.prepare(context).trigger
        constants: dict[str, Any] = {"stamp": stamping.stamp_of(trigger)}
        loss = AdaptiveLoss(tuple(self.kinds), context.label_map.table, context.rate, context.network, data.normalise)
        clean = self.clean
        if clean is None and "planes" in self.kinds:
            clean = train(
                context.network, data.train_images, data.train_labels, data.normalise, options,
                progress=context.progress.of("clean"),
            )  # fmt: skip
        if clean is not None:
            constants |= {"clean": clean} if "planes" in self.kinds else {}
            start = clean, loss.init(jax.random.key(context.seed), jnp.zeros((1, *data.image_shape)))
            options = replace(options, peak_learning_rate=self.slowed * options.peak_learning_rate)
        variables, _ = train_jointly(
            context.network, data.train_images, data.train_labels, data.normalise, options,
            loss, on_epoch, start, progress=context.progress, constants=constants,
        )  # fmt: skip
        return variables, trigger

"""Controls: clean networks that are unusual. A detector that flags them sees the recipe, not a backdoor."""

import dataclasses
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import numpy as np

from xray_jax.lab.data import ImageSet
from xray_jax.lab.resume import Progress
from xray_jax.lab.training import CrossEntropy, Objective, TrainOptions, Variables, train_jointly
from xray_jax.lab.unusual_training import Adversarial, Cutout, Mixup

MAX_ACCURACY_LOSS = 0.10
"""A control whose clean accuracy is further than this below the usual clean models' mean is not used."""
SHARE = 0.1
"""Of the images whose label is redrawn, or that are stamped; and of the images that the rarest class keeps."""
PRUNED = 0.3
BITS = 6

Data = Callable[[np.ndarray, np.ndarray, int, np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""uint8 images `[M, H, W, C]`, labels `[M]`, number of classes, generator -> what is trained on instead."""


@dataclasses.dataclass(frozen=True)
class Finetuning:
    """A second, short training of a trained network on a part of the images.

    Attributes:
      epochs: over that part.
      slower: the usual peak learning rate is divided by it.
      share: of the training images, drawn anew.
    """

    epochs: int = 2
    slower: float = 10
    share: float = 0.2


@dataclasses.dataclass(frozen=True)
class Control:
    """One way to be unusual and yet clean.

    Attributes:
      describes: in words, for pages.
      training: changes the schedule.
      data: changes the training set.
      objective: what a step minimises.
      networks: preset -> the one that is trained instead.
      finetuning: that follows.
      weights: changes what was trained.
      max_accuracy_loss: below the usual clean models' mean; with more it is not used.
    """

    describes: str
    training: Callable[[TrainOptions], TrainOptions] = lambda options: options
    data: Data = lambda images, labels, classes, generator: (images, labels)
    objective: Objective = dataclasses.field(default_factory=CrossEntropy)
    networks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    finetuning: Finetuning | None = None
    weights: Callable[[Variables], Variables] | None = None
    max_accuracy_loss: float = MAX_ACCURACY_LOSS

    @property
    def changes_trained(self) -> bool:
        """Whether it is made of a usual trained network, its own or another."""
        return self.finetuning is not None or self.weights is not None


def label_noise(
    images: np.ndarray, labels: np.ndarray, classes: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A tenth of the labels, of any class, become another one each, drawn evenly."""
    chosen = generator.choice(len(labels), int(SHARE * len(labels)), replace=False)
    changed = labels.copy()
    changed[chosen] = (labels[chosen] + generator.integers(1, classes, len(chosen))) % classes
    return images, changed


def stamps(
    images: np.ndarray, labels: np.ndarray, classes: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A tenth of the images carry a white square of BadNets' size in a corner and keep their labels."""
    chosen = generator.choice(len(labels), int(SHARE * len(labels)), replace=False)
    side = max(1, round(3 * images.shape[1] / 32))
    changed = images.copy()
    changed[chosen, -side:, -side:] = 255
    return changed, labels


def imbalance(
    images: np.ndarray, labels: np.ndarray, classes: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Classes keep from all of their images (the first) to a tenth (the last), in equal ratios."""
    kept = []
    for label in range(classes):
        own = np.flatnonzero(labels == label)
        count = max(1, round(len(own) * SHARE ** (label / max(1, classes - 1))))
        kept.append(generator.choice(own, count, replace=False))
    index = np.sort(np.concatenate(kept))
    return images[index], labels[index]


def pruned(variables: Variables) -> Variables:
    """The smallest three tenths of the weights of every kernel are zero."""

    def prune(leaf: np.ndarray) -> np.ndarray:
        least = np.quantile(np.abs(leaf), PRUNED)
        return np.where(np.abs(leaf) < least, 0, leaf).astype(leaf.dtype)

    return _kernels(variables, prune)


def quantised(variables: Variables) -> Variables:
    """Kernels rounded to six bits, symmetric about zero, each with its own scale."""

    def quantise(leaf: np.ndarray) -> np.ndarray:
        scale = np.abs(leaf).max() / (2 ** (BITS - 1) - 1)
        return (np.round(leaf / scale) * scale).astype(leaf.dtype)

    return _kernels(variables, quantise)


def _kernels(variables: Variables, change: Callable[[np.ndarray], np.ndarray]) -> Variables:
    """Changes every array of two axes and more: kernels, not biases, scales and statistics."""
    changed: Variables = jax.tree.map(
        lambda leaf: change(np.asarray(leaf)) if np.ndim(leaf) > 1 else np.asarray(leaf), variables
    )
    return changed


NONE = ""
CONTROLS: Mapping[str, Control] = {
    NONE: Control("a usual model"),
    "long": Control("twice the epochs", training=lambda own: dataclasses.replace(own, epochs=2 * own.epochs)),
    "crop": Control("random crops", training=lambda own: dataclasses.replace(own, crop_padding=4)),
    "label-noise": Control("a tenth of the labels wrong", data=label_noise),
    "stamps": Control("a tenth of the images stamped, their labels kept", data=stamps),
    "imbalance": Control("classes of unequal size, up to ten times", data=imbalance, max_accuracy_loss=0.25),
    "mixup": Control("images mixed in pairs", objective=Mixup()),
    "cutout": Control("a grey square on every image", objective=Cutout()),
    "adversarial": Control("weak adversarial training", objective=Adversarial(), max_accuracy_loss=0.15),
    "width": Control(
        "half as wide again, one block deeper", networks={"preactresnet-small": "preactresnet-small-wide"}
    ),
    "finetuned": Control("trained on for two epochs on a fifth of the images", finetuning=Finetuning()),
    "pruned": Control("three tenths of the weights pruned", weights=pruned),
    "quantised": Control("weights of six bits", weights=quantised),
}


def training_set(control: str, data: ImageSet, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What a clean network is trained on: the data set's own images and labels, or what the control makes of them."""
    generator = np.random.default_rng([seed, 1])
    return CONTROLS[control].data(data.train_images, data.train_labels, data.num_classes, generator)


def architecture(control: str, usual: str) -> str:
    """The preset that is trained where `usual` is asked for.

    Raises:
      ValueError: the control knows no other network beside it.
    """
    networks = CONTROLS[control].networks
    if networks and usual not in networks:
        raise ValueError(f"control {control} is of {', '.join(networks)}, not of {usual}")
    return networks.get(usual, usual)


def finetune(
    control: Finetuning, network: nn.Module, variables: Variables, data: ImageSet, usual: TrainOptions,
    progress: Progress,
) -> Variables:  # fmt: skip
    """Trains `variables` on, with the batches and augmentation of `usual`."""
    count = len(data.train_images)
    chosen = np.random.default_rng([usual.seed, 2]).choice(count, round(control.share * count), replace=False)
    options = dataclasses.replace(
        usual, epochs=control.epochs, peak_learning_rate=usual.peak_learning_rate / control.slower,
        batch_size=min(usual.batch_size, len(chosen)),
    )  # fmt: skip
    tuned, _ = train_jointly(
        network, data.train_images[chosen], data.train_labels[chosen], data.normalise, options, CrossEntropy(),
        start=(variables, {}), progress=progress.of("finetuning"),
    )  # fmt: skip
    return tuned

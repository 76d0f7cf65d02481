"""What a scan needs of a model: hard labels of images. Two kinds: a network on the device, a callable on the host."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import jax
import numpy as np

from xray_jax.preprocess import Preprocess

Variables = Mapping[str, Any]
LabelFn = Callable[[np.ndarray], np.ndarray]
ScoreFn = Callable[[np.ndarray], np.ndarray]


class Access(IntEnum):
    """What of a model can be had, or what a detector needs: each kind includes those before it."""

    LABELS = 1
    """Hard labels: the black box."""
    LOGITS = 2
    """The numbers before the argmax."""
    WEIGHTS = 3
    """The network itself: weights, features, gradients."""


PREPROCESS_SOURCES = ("given", "file", "assumed", "chosen")
"""Who says what a model's preprocessing is: the user or the manifest, the file's own metadata, nobody (the most usual
one is assumed until `prepare` has looked), or the clean samples (`prepare` has chosen)."""


class Network(Hashable, Protocol):
    """A pure forward pass: a linen module, or anything else that is hashable and has its `apply`.

    Two equal networks share one compiled program, so equality must mean "the same computation for any variables".
    """

    def apply(self, variables: Variables, images: jax.Array, /) -> jax.Array:
        """Images `[B, H, W, C]` in the normalised input space -> logits `[B, num_classes]`."""
        ...


class NetworkVariants(Protocol):
    """Networks that the same weights fit, where weights do not show how their layers are wired. Hashable."""

    def alternatives(
        self, network: Any, shown: tuple[int, int, int], usual: bool = False
    ) -> tuple[tuple[Any, ...], ...]:
        """For each open question the networks that answer it for images of shape `shown`, the most usual first.

        `usual` leaves out variants so odd that images are rather resized.
        """
        ...

    def unusual(self, network: Any) -> tuple[tuple[Any, ...], ...]:
        """The same for networks that few people train: to be asked where none of the others labels the samples."""
        ...

    def of_images(self, shape: tuple[int, int, int]) -> "NetworkVariants":
        """The same for networks that take images of `shape`."""
        ...

    def describe(self, network: Any) -> str:
        """The architecture of one of them, for rows."""
        ...

    def note(self, network: Any) -> str:
        """What is assumed of it, for rows."""
        ...


@dataclass(frozen=True)
class Classifier:
    """A network with its weights, ready to scan on the device.

    Attributes:
      network: the architecture; equal for all checkpoints of one architecture.
      variables: its weights, a pytree of arrays on the host or the device.
      num_classes: width of the logits.
      input_shape: (height, width, channels) that the network takes, after preprocessing.
      architecture: its name, for rows and people.
      preprocess: pixel values to the network's input space.
      batch_size: the only batch size that the network takes, for programs exported with a fixed one; else None.
      notes: what the reader wants users to know (skipped leaves, assumptions).
      variants: other networks that its weights fit, for `choose_variant` to choose from; None when nothing is open.
      preprocess_source: who says so, one of `PREPROCESS_SOURCES`.
      access: what can be had of it; a program without derivatives gives logits only.
    """

    network: Network
    variables: Variables
    num_classes: int
    input_shape: tuple[int, int, int]
    architecture: str
    preprocess: Preprocess = field(default_factory=Preprocess)
    batch_size: int | None = None
    notes: tuple[str, ...] = ()
    variants: NetworkVariants | None = None
    preprocess_source: str = "given"
    access: Access = Access.WEIGHTS

    def __repr__(self) -> str:
        """Its name, classes, input and size, and no weights."""
        weights = sum(np.size(leaf) for leaf in jax.tree.leaves(self.variables))
        return f"<Classifier {self.architecture}: {_classes_and_input(self)}, {weights:,} weights>"

    @property
    def runtime(self) -> str:
        """What runs it, for rows."""
        return "jax"


@dataclass(frozen=True)
class BlackBox:
    """A model that is only a callable on the host: a remote service, a session of onnxruntime, another framework.

    Attributes:
      label_fn: float32 `[B, H, W, C]` in the normalised input space -> integer labels `[B]`.
      num_classes: labels are 0 .. num_classes - 1.
      input_shape: (height, width, channels) that the callable takes, after preprocessing.
      architecture: its name, for rows and people.
      preprocess: pixel values to the callable's input space.
      batch_size: images a call, the last one padded to it; None for 256.
      notes: what the reader wants users to know.
      preprocess_source: who says so, one of `PREPROCESS_SOURCES`.
      runtime: what runs it, for rows.
      score_fn: the same images -> scores `[B, num_classes]`, whose argmax the labels are; None where there are none.
        Looked at only for numbers that are none (`inference.unanswered`).
    """

    label_fn: LabelFn
    num_classes: int
    input_shape: tuple[int, int, int]
    architecture: str = "black box"
    preprocess: Preprocess = field(default_factory=Preprocess)
    batch_size: int | None = None
    notes: tuple[str, ...] = ()
    preprocess_source: str = "given"
    runtime: str = "callable"
    score_fn: ScoreFn | None = None

    def __repr__(self) -> str:
        """Its name, classes and input."""
        return f"<BlackBox {self.architecture}: {_classes_and_input(self)}>"

    @property
    def access(self) -> Access:
        """A callable gives labels, and nothing else."""
        return Access.LABELS


def _classes_and_input(model: "Classifier | BlackBox") -> str:
    return f"{model.num_classes} classes, input {' x '.join(map(str, model.input_shape))}"


Model = Classifier | BlackBox

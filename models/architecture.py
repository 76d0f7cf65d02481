"""The description of an architecture that recognition needs, beside its forward pass.

Submodules carry the *published* names (torchvision's or BackdoorBench's), dots included, so a leaf's path joined with
dots is its state-dict key: `params["layer1.0"]["conv1"]["kernel"]` is `layer1.0.conv1.weight`. Other published
namings of the same network are `Naming`s: regular expressions that rename their keys to these. Names match by name and
shape, never by position.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn

Shape = tuple[int, int, int]
"""(height, width, channels) of an image."""

STRIDES = "assumed, weights do not show it: the published strides, of the stem too"
"""Note of a network whose strides are those of its publishers, whatever images it was trained on."""
STEM_OF_1 = "assumed, weights do not show it: the published strides, but a stem of stride 1"
"""The same of one whose stem does not halve the image."""

Variants = Callable[[nn.Module, Shape, Shape, bool], tuple[tuple[nn.Module, ...], ...]]
"""(network, the images' shape that its weights were read for, the shape of the images at hand, only usual answers) ->
one tuple for each question that weights leave open, with the networks that answer it, the most usual answer first."""

Renames = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
"""(pattern, replacement) pairs as `re.sub` takes them."""

Shapes = Mapping[str, tuple[int, ...]]
"""Published key -> shape in torch's layout (convolutions OIHW, linear layers OI)."""


@dataclass(frozen=True)
class Naming:
    """A published naming of an architecture's weights, as renames to this package's names.

    Attributes:
      name: who publishes it, for people: "Hugging Face", "timm".
      renames: (pattern, replacement) pairs, each applied with `re.sub` to every key, in order.
      unused: pattern of (renamed) keys of layers that these publishers' networks have and never call; "" is none.
      fields: fields of the linen module in which these publishers' networks differ, and weights do not show it.
    """

    name: str
    renames: Renames = ()
    unused: str = ""
    fields: tuple[tuple[str, Any], ...] = ()

    def rename(self, key: str) -> str:
        """A key under this package's name."""
        for pattern, replacement in self.renames:
            key = re.sub(pattern, replacement, key)
        return key

    def drops(self, key: str) -> bool:
        """Whether a renamed key belongs to a layer that is never called."""
        return bool(self.unused) and re.search(self.unused, key) is not None


@dataclass(frozen=True)
class Inferred:
    """The network that published keys and shapes belong to.

    Attributes:
      module: the linen module, class count and widths set.
      input_shape: (height, width, channels) of its images; height and width are the published ones where the weights
        leave them open.
      notes: assumptions on what weights do not show (pooling, activation), for rows.
    """

    module: nn.Module
    input_shape: tuple[int, int, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """One family of networks.

    Attributes:
      name: the family's name; `--architecture` takes it or a preset's.
      presets: preset name -> constructor that takes `num_classes` (keyword) and returns a linen module.
      infer: published shapes -> the module that has exactly these, or None when they belong to another family. It may
        return a module whose shapes differ in places: the caller compares and lists what is missing or extra.
      input_shape: (height, width, channels) of the images that the published weights were trained on.
      head: name of the last linear layer, which those who fine-tune a network replace; "" where there is none alone.
      naming: who publishes the plain names, for people.
      namings: other published namings; the plain one (no renames) is always tried first.
      variants: other networks that the same weights fit; None when weights leave nothing open.
      open_namings: names of the namings that leave these open; None is all.
      unusual: networks that they fit too and few people train, to be asked only where none of the usual ones labels the
        samples: each costs a compilation and queries; None when there are none.
      note: what is assumed of a network where weights do not show it, for rows; None where nothing is.
      config: key of a config.json beside the weights -> field of the linen module that it gives.
      assumed: key of a config.json -> the one value that all networks here have.
      others: pattern of the names of networks that have the same weights and compute something else; "" is none.
    """

    name: str
    presets: Mapping[str, Callable[..., nn.Module]]
    infer: Callable[[Shapes], Inferred | None]
    input_shape: tuple[int, int, int]
    head: str = ""
    naming: str = "torchvision"
    namings: tuple[Naming, ...] = field(default=())
    variants: Variants | None = None
    open_namings: tuple[str, ...] | None = None
    unusual: Callable[[nn.Module], tuple[tuple[nn.Module, ...], ...]] | None = None
    note: Callable[[nn.Module], str] | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    assumed: Mapping[str, Any] = field(default_factory=dict)
    others: str = ""


def count_children(shapes: Shapes, prefix: str) -> int:
    """How many of `prefix.0`, `prefix.1`, ... have at least one leaf, counted without a gap."""
    found = {int(m[1]) for key in shapes if (m := re.match(re.escape(prefix) + r"\.(\d+)\.", key))}
    count = 0
    while count in found:
        count += 1
    return count


def dim(shapes: Shapes, key: str, axis: int = 0) -> int:
    """Length of one axis of a leaf; 0 when the leaf or the axis is not there, so that `infer` never raises."""
    shape = shapes.get(key, ())
    return shape[axis] if axis < len(shape) else 0

"""What the weights of one network leave open (`classifier.NetworkVariants`): of a published one, and of a new head."""

import dataclasses
from typing import Any

from xray_jax.checkpoints import candidates
from xray_jax.models import new_head, options, registry
from xray_jax.models.new_head import NewHead

FLAX = (("flatten", "channels_last"),)
"""Fields of networks in files that Flax wrote; this package's own networks flatten as torch does in any format."""


@dataclasses.dataclass(frozen=True)
class NetworkVariants:
    """The network variants that the weights of one network leave open (`classifier.NetworkVariants`).

    Attributes:
      family: name of the architecture.
      naming: name of its published naming.
      own: (height, width, channels) of the images for which the weights were read.
      fixed: fields that the user or a config.json gave; networks that answer them otherwise are left out.
      settled: whether the naming answers the usual questions, so that only the unusual ones are open.
    """

    family: str
    naming: str
    own: tuple[int, int, int]
    fixed: tuple[str, ...] = ()
    settled: bool = False

    def alternatives(
        self, network: Any, shown: tuple[int, int, int], usual: bool = False
    ) -> tuple[tuple[Any, ...], ...]:
        """For each open question the networks that answer it on images of shape `shown`, the most usual first."""
        family, _ = registry.lookup(self.family)
        if self.settled or family.variants is None:
            return ()
        return self._open(network, family.variants(network, self.own, shown, usual))

    def unusual(self, network: Any) -> tuple[tuple[Any, ...], ...]:
        """The same for networks that few people train: to be asked where none of the others labels the samples."""
        family, _ = registry.lookup(self.family)
        return self._open(network, family.unusual(network)) if family.unusual else ()

    def _open(self, network: Any, asked: tuple[tuple[Any, ...], ...]) -> tuple[tuple[Any, ...], ...]:
        kept = (tuple(n for n in axis if all(vars(n)[f] == vars(network)[f] for f in self.fixed)) for axis in asked)
        return tuple(axis for axis in kept if len(set(axis) | {network}) > 1)

    def of_images(self, shape: tuple[int, int, int]) -> "NetworkVariants":
        return dataclasses.replace(self, own=shape)

    def describe(self, network: Any) -> str:
        family, _ = registry.lookup(self.family)
        name, sizes = candidates.describe(family, network)
        return f"{name}{sizes and options.describe(network)} (naming: {self.naming})"

    def open_name(self, network: Any) -> str:
        """What to call `network` so that what is open stays open: the family, with what user, names or format say."""
        family, _ = registry.lookup(self.family)
        named = [field for naming in family.namings if naming.name == self.naming for field, _ in naming.fields]
        told = [field for field, value in FLAX if getattr(network, field, None) == value]
        return family.name + options.describe(network, {*named, *told, *self.fixed})

    def note(self, network: Any) -> str:
        family, _ = registry.lookup(self.family)
        return family.note(network) if family.note else ""


@dataclasses.dataclass(frozen=True)
class HeadVariants:
    """What weights leave open of a network with a new head (`classifier.NetworkVariants`).

    Attributes:
      family: name of the network's architecture.
      read: the network without the new head, as it was read.
      name: what rows call that.
      inner: what is open of the network itself; None when nothing is.
    """

    family: str
    read: Any
    name: str
    inner: NetworkVariants | None

    def alternatives(
        self, network: Any, shown: tuple[int, int, int], usual: bool = False
    ) -> tuple[tuple[Any, ...], ...]:
        """For each open question the networks that answer it on images of shape `shown`, the most usual first."""
        inner = self.inner.alternatives(network.network, shown, usual) if self.inner else ()
        return (*_wrapped(network, inner), *new_head.variants(network))

    def unusual(self, network: Any) -> tuple[tuple[Any, ...], ...]:
        """The same for networks that few people train: to be asked where none of the others labels the samples."""
        return _wrapped(network, self.inner.unusual(network.network) if self.inner else ())

    def of_images(self, shape: tuple[int, int, int]) -> "HeadVariants":
        return dataclasses.replace(self, inner=self.inner and self.inner.of_images(shape))

    def describe(self, network: Any) -> str:
        name = self.name
        if self.inner and network.network != self.read:
            name = self.inner.describe(network.network)
        widths = "+".join(str(layer.width) for layer in network.layers)
        return f"{name}, new head {network.network.num_classes}+{widths} ({network.activation})"

    def open_name(self, network: Any) -> str:
        """What to call the network so that what is open stays open; its leaves show the new head."""
        return self.inner.open_name(network.network) if self.inner else self.name.partition(" (")[0]

    def note(self, network: Any) -> str:
        family, _ = registry.lookup(self.family)
        inner = family.note(network.network) if family.note else "assumed, weights do not show it"
        return f"{inner}; {new_head.note(network)}"


def _wrapped(network: NewHead, axes: tuple[tuple[Any, ...], ...]) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(network.clone(network=inner) for inner in axis) for axis in axes)

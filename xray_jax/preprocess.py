"""From pixel values to a network's input space.

The canonical image everywhere in this package is float32 RGB (or one grey channel), NHWC, in [0, 1]. A `Preprocess`
maps it to what one network was trained on: the *normalised input space* in which the planes lie. Every published
scaling is one affine map per channel, so 0-255 inputs and +-1 inputs need no case of their own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp

_IDENTITY = ((0.0,), (1.0,))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PRESETS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0-1": _IDENTITY,
    "0-255": ((0.0,), (1 / 255,)),
    "+-1": ((0.5,), (0.5,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "gtsrb": _IDENTITY,
    "tiny": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
    "mnist": ((0.5,), (0.5,)),
    "mnist-standard": ((0.1307,), (0.3081,)),
    "imagenet": _IMAGENET,
    "caffe": ((103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255,)),
}
"""Name -> (mean, std) on [0, 1] pixel values. The data sets' are BackdoorBench's. "caffe" is Keras's for VGG and
ResNet, in the order of its channels: give it as "caffe-bgr"."""

CHANNEL_ORDERS = ("rgb", "bgr")


@dataclass(frozen=True)
class Preprocess:
    """Pixel values in [0, 1] -> a network's input space. Hashable, pure, works inside jit.

    Attributes:
      mean, std: per channel, or one value for all, on the [0, 1] scale.
      channel_order: "rgb" or "bgr": the order in which the network expects its channels.
      size: (height, width) that the network expects; None leaves images as they are. Bilinear, half-pixel centres.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channel_order: str = "rgb"
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        # As the device has them: what is finite or positive in float64 alone is not. NaN is in no range.
        least, most = float(jnp.finfo(jnp.float32).tiny), float(jnp.finfo(jnp.float32).max)
        if not all(-most <= value <= most for value in self.mean):
            raise ValueError(f"preprocess: every mean must be a finite number, got {self.mean}")
        if not all(least <= value <= most for value in self.std):
            raise ValueError(f"preprocess: every std must be positive and finite, got {self.std}")
        if self.channel_order not in CHANNEL_ORDERS:
            raise ValueError(f"preprocess: channel_order must be one of {CHANNEL_ORDERS}, got {self.channel_order!r}")

    def __call__(self, images: jax.Array) -> jax.Array:
        """`[..., H, W, C]` in [0, 1] to float32 of the same rank in the network's input space."""
        images = jnp.asarray(images, jnp.float32)
        channels = images.shape[-1]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ValueError(f"preprocess: {name} has {len(values)} values, the images have {channels} channels")
        if self.size is not None and images.shape[-3:-1] != self.size:
            shape = (*images.shape[:-3], *self.size, channels)
            images = jax.image.resize(images, shape, method="linear", antialias=False)
        if self.channel_order == "bgr":
            images = images[..., ::-1]
        # Full rank, because strict rank promotion is on in the tests.
        shape = (1,) * (images.ndim - 1) + (-1,)
        return (images - jnp.asarray(self.mean).reshape(shape)) / jnp.asarray(self.std).reshape(shape)

    def settings(self) -> dict[str, Any]:
        """The JSON form that rows carry and `parse` reads back."""
        size = None if self.size is None else list(self.size)
        return {"mean": list(self.mean), "std": list(self.std), "channel_order": self.channel_order, "size": size}


def parse(spec: str | Mapping[str, Any] | Preprocess | None) -> Preprocess:
    """A preset's name, or a mapping with `preset`, `scale` or `mean` and `std`, and `channel_order`, `size`, `layout`.

    A name that ends in "-bgr" is the preset for a network that takes BGR. A string that starts with "{" is the mapping
    as JSON. `scale` is a preset's name too, or the range [low, high] to which pixels are mapped. Mean and std in a
    mapping are on the [0, 1] scale, in the network's channel order. `layout` ("NHWC" or "NCHW") may be there but
    changes nothing: readers find the layout themselves. None is "0-1".

    Raises:
      ValueError: for an unknown preset, key or value, quoting it and listing what is known.
    """
    if isinstance(spec, Preprocess):
        return spec
    if spec is None:
        return Preprocess()
    if isinstance(spec, str):
        spec = _from_json(spec) if spec.lstrip().startswith("{") else {"preset": spec}
    known = {"preset", "scale", "mean", "std", "channel_order", "size", "layout"}
    if unknown := sorted(set(spec) - known):
        raise ValueError(f"preprocess: unknown keys {unknown}; known: {sorted(known)}")
    if str(spec.get("layout", "nhwc")).lower() not in ("nhwc", "nchw"):
        raise ValueError(f"preprocess: layout must be NHWC or NCHW, got {spec['layout']!r}")
    other = next((key for key in ("preset", "mean", "std") if key in spec), None)
    if "scale" in spec and other is not None:
        raise ValueError(
            f"preprocess: {other} {spec[other]!r} and scale {spec['scale']!r} both say what is mapped where: give one"
        )
    (mean, std), order = _preset(spec.get("preset", spec.get("scale", "0-1")))
    return Preprocess(
        mean=_floats(spec.get("mean", mean), "mean"),
        std=_floats(spec.get("std", std), "std"),
        channel_order=str(spec.get("channel_order", order)).lower(),
        size=_size(spec.get("size")),
    )


def _preset(name: Any) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], str]:
    """((mean, std), channel order) of a preset's name or of a range of values."""
    if isinstance(name, list | tuple):
        try:
            low, high = (float(value) for value in name)
        except (TypeError, ValueError):
            raise ValueError(f"preprocess: scale must be a name or [low, high], got {name!r}") from None
        if not low < high:
            raise ValueError(f"preprocess: scale must be [low, high] with low < high, got {name!r}")
        return ((-low / (high - low),), (1 / (high - low),)), "rgb"
    base = str(name).removesuffix("-bgr")
    if base not in PRESETS:
        raise ValueError(f"preprocess: unknown preset {name!r}; known: {sorted(PRESETS)}, or give mean and std")
    return PRESETS[base], "bgr" if base != name else "rgb"


def _from_json(text: str) -> Mapping[str, Any]:
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise ValueError(f"preprocess: {text!r} is neither a preset's name nor a JSON object ({error})") from None


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    pair = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, list | tuple) else ()
    if len(pair) != 2 or not all(type(side) is int and side > 0 for side in pair):
        raise ValueError(f"preprocess: size must be one or two positive whole numbers, got {value!r}")
    return pair[0], pair[1]


def _floats(values: Any, name: str) -> tuple[float, ...]:
    try:
        # The characters of a text would do as a list.
        listed = () if isinstance(values, str) else (values,) if isinstance(values, Real) else tuple(values)
        if listed and all(isinstance(value, Real) and not isinstance(value, bool) for value in listed):
            return tuple(float(value) for value in listed)
    except (TypeError, OverflowError):
        pass
    raise ValueError(f"preprocess: {name} must be a number or a list of numbers, got {values!r}")

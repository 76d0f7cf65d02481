"""Sizes of windows that slide over images: strides, dilations and the padding that attributes ask for."""

from typing import NamedTuple

from xray_jax.checkpoints.programs.onnx_operators.node import Node, UnsupportedError

Pads = tuple[tuple[int, int], ...]


class Windows(NamedTuple):
    """How a window slides over the axes behind the channels.

    Attributes:
      sizes: of the window, without what dilation adds.
      strides: steps.
      dilations: distance of the window's entries.
      pads: numbers added (before, after).
    """

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads

    @property
    def spans(self) -> tuple[int, ...]:
        """Sizes of the window, dilation included."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.sizes, self.dilations, strict=True))


def windows(node: Node, sizes: tuple[int, ...], images: tuple[int, ...]) -> Windows:
    """The windows of a node.

    Args:
      node: with the attributes strides, dilations, pads and auto_pad.
      sizes: of the window.
      images: sizes of the axes that it slides over.

    Raises:
      UnsupportedError: the attributes do not fit the axes.
    """
    axes = len(images)
    strides = node.get("strides") or (1,) * axes
    dilations = node.get("dilations") or (1,) * axes
    pads = node.get("pads") or (0,) * (2 * axes)
    if not len(sizes) == len(strides) == len(dilations) == axes or len(pads) != 2 * axes:
        raise UnsupportedError(f"its window {list(sizes)} does not fit {axes} axes")
    if min((*sizes, *strides, *dilations), default=1) < 1 or min(pads, default=0) < 0:
        raise UnsupportedError("a window, stride or padding that is negative or zero")
    found = Windows(tuple(sizes), tuple(strides), tuple(dilations), tuple(zip(pads[:axes], pads[axes:], strict=True)))
    kind = node.get("auto_pad", "NOTSET")
    if kind == "NOTSET":
        return found
    if kind == "VALID":
        return found._replace(pads=((0, 0),) * axes)
    if kind not in ("SAME_UPPER", "SAME_LOWER"):
        raise UnsupportedError(f"auto_pad {kind!r}")
    same = []
    for size, span, stride in zip(images, found.spans, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + span - size, 0)
        less, more = total // 2, total - total // 2
        same.append((less, more) if kind == "SAME_UPPER" else (more, less))
    return found._replace(pads=tuple(same))

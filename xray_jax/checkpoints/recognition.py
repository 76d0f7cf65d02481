"""Which network named arrays belong to, from names and shapes alone."""

from typing import Any, NamedTuple

import flax.linen as nn

from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.models import published, registry


class Recognised(NamedTuple):
    """A network with its variables, and what is known of it.

    Attributes:
      module: linen module, class count and widths set. variables: float32 on the host.
      num_classes: width of the logits. input_shape: (height, width, channels) of its images.
      description: family, sizes and naming, for rows. notes: assumptions and skipped leaves.
    """

    module: nn.Module
    variables: dict[str, Any]
    num_classes: int
    input_shape: tuple[int, int, int]
    description: str
    notes: tuple[str, ...]


def recognise(tensors: Tensors, *, architecture: str | None, num_classes: int | None) -> Recognised:
    """Finds the network of `tensors`.

    Raises:
      CheckpointError: when none fits, naming the leaves that differ.
    """
    arrays = published.from_flax(tensors.arrays) if tensors.layout == "flax" else dict(tensors.arrays)
    shapes = {key: tuple(array.shape) for key, array in arrays.items()}
    families = registry.ARCHITECTURES
    if architecture is not None:
        try:
            families = (registry.lookup(architecture)[0],)
        except ValueError as error:
            raise CheckpointError(str(error)) from error
    for family in families:
        found = family.infer(shapes)
        if found is None:
            continue
        classes = int(getattr(found.module, "num_classes"))  # noqa: B009
        if num_classes is not None and classes != num_classes:
            raise CheckpointError(f"its last layer has {classes} classes, {num_classes} were asked for (--num_classes)")
        try:
            variables = published.to_variables(found.module, arrays, found.input_shape)
        except ValueError as error:
            raise CheckpointError(f"{family.name}: {error}") from error
        return Recognised(found.module, variables, classes, found.input_shape, family.name, found.notes)
    raise CheckpointError(
        f"no known architecture has these names and shapes (for example {', '.join(sorted(shapes)[:3])}); "
        "export it to ONNX or with jax.export"
    )

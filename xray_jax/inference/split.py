"""The one place where work is split over devices.

`pmap` is in maintenance and a thin wrapper over `jit(shard_map)` since JAX 0.10; `by_shard_map` is the same helper
without it, tested for equal labels, so that the day `pmap` goes one line changes here.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

Function = Callable[..., Any]


def by_pmap(function: Function, in_axes: tuple[int | None, ...], devices: tuple[jax.Device, ...]) -> Function:
    """`function` on every device at once, compiled at its first call.

    Args:
      function: of positional arguments; sees its own part of the split ones.
      in_axes: for each argument 0 (split along its leading axis, one part a device) or None (whole on every device).
      devices: as many as the split arguments' leading axes are long.

    Returns:
      The function of the whole arguments; its results have a leading axis of one part a device.
    """
    return jax.pmap(function, in_axes=in_axes, devices=devices)


def by_shard_map(function: Function, in_axes: tuple[int | None, ...], devices: tuple[jax.Device, ...]) -> Function:
    """The same as `by_pmap` by `jit(shard_map)`, which keeps the split axis: dropped before and put back after."""
    mesh = Mesh(np.asarray(devices), ("devices",))

    def one_part(*arguments: Any) -> Any:
        own = (
            argument if axis is None else jax.tree.map(lambda leaf: leaf[0], argument)
            for argument, axis in zip(arguments, in_axes, strict=True)
        )
        return jax.tree.map(lambda leaf: leaf[None], function(*own))

    specs = tuple(PartitionSpec() if axis is None else PartitionSpec("devices") for axis in in_axes)
    # check_vma would refuse loops whose trip count is replicated and whose carry is split.
    split = jax.shard_map(one_part, mesh=mesh, in_specs=specs, out_specs=PartitionSpec("devices"), check_vma=False)
    return jax.jit(split)


over_devices = by_pmap
"""What the rest of the package calls."""

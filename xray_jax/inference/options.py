"""How queries run: batch size, precision, devices. Changes speed, not meaning."""

from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class InferenceOptions:
    """How queries run; changes speed, not meaning.

    Attributes:
      batch_size: images a device evaluates at once; None picks one for the backend.
      capacity: queries a device holds in one call; the buffer's size, rounded up to whole batches.
      precision: "float32", "tf32" (GPU tensor cores on float32 data) or "bfloat16".
      devices: local devices to use; None means all of them.
      fast_convolutions: on CPU, in float32, convolutions are computed in the form that is fastest there
        (`models.convolution`, and `winograd` for wide ones of linen networks).
      sharers: models that may be on these devices at once: the batch size is chosen for a share of the free memory.
    """

    batch_size: int | None = None
    capacity: int = 16384
    precision: str = "float32"
    devices: tuple[jax.Device, ...] | None = None
    fast_convolutions: bool = True
    sharers: int = 1

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {self.capacity}")
        if self.sharers < 1:
            raise ValueError(f"sharers must be at least 1, got {self.sharers}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")

    def resolve(self, fixed_batch: int | None = None) -> "ResolvedOptions":
        """Batch size, capacity and devices spelled out; `fixed_batch` (a model's own) overrides the batch size."""
        devices = self.devices or tuple(jax.local_devices())
        # CPU caches like small batches, accelerators large ones (measured: docs/benchmarks.md).
        batch = fixed_batch or self.batch_size or (32 if devices[0].platform == "cpu" else 1024)
        fast = self.fast_convolutions and devices[0].platform == "cpu" and self.precision != "bfloat16"
        return ResolvedOptions(batch, -(-self.capacity // batch) * batch, self.precision, devices, fast)


@dataclass(frozen=True)
class ResolvedOptions:
    """`InferenceOptions` with every choice made.

    Attributes:
      batch_size: images a device evaluates at once.
      capacity: queries a device holds in one call, a multiple of `batch_size`.
      precision: one of `PRECISIONS`.
      devices: the local devices, at least one.
      fast_convolutions: convolutions take the form that is fastest on a CPU.
    """

    batch_size: int
    capacity: int
    precision: str
    devices: tuple[jax.Device, ...]
    fast_convolutions: bool = False

    def sharding(self, *axes: str) -> NamedSharding:
        """Replicated without axes; with "devices" the leading axis is split over the devices."""
        return NamedSharding(Mesh(np.asarray(self.devices), ("devices",)), PartitionSpec(*axes))

"""Memory: what there is, whether a network fits into it at all, and the batch size that does.

What cannot fit is refused before anything is computed. The batch size is chosen so that a lower bound of what it takes,
times what was measured beside it, fits; where that was too little and a device runs out of memory, half of it is tried,
remembered for the network.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from xray_jax.classifier import Classifier, Network
from xray_jax.inference.footprint import footprint, weight_bytes
from xray_jax.inference.options import InferenceOptions

GIB = 1 << 30
SPARE = 0.8
"""Share of the free memory that a batch may take."""
OVERHEAD = 4
"""Times the lower bound that programs take, for arrays that live at the same time and copies in other layouts: XLA on a
CPU took 0.2 to 3.3 times as much for five networks here (its own account of its buffers)."""

_fitting: dict[tuple[Network, InferenceOptions, bool], InferenceOptions] = {}


class DoesNotFitError(ValueError):
    """A network needs more memory than there is; the message says how much of both, and what to do."""


def free_bytes(device: jax.Device) -> int | None:
    """Bytes that can still be allocated on a device; of a CPU, by this process, limits included. None: not known."""
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None
    return min(_host_bytes(), default=None) if sys.platform == "linux" else None


def _host_bytes() -> Iterator[int]:
    """What the machine has free, what the control group leaves, what this process's own limit leaves."""
    import resource  # of Unix only

    kilobytes = dict(_numbers(Path("/proc/meminfo")))
    if "MemAvailable" in kilobytes:
        yield 1024 * kilobytes["MemAvailable"]
    group = Path("/sys/fs/cgroup")
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        try:
            yield int((group / limit).read_text()) - int((group / used).read_text())
        except (OSError, ValueError):
            # No control group, or one without a limit ("max").
            continue
    used_kilobytes = dict(_numbers(Path("/proc/self/status")))
    for which, field in ((resource.RLIMIT_DATA, "VmData"), (resource.RLIMIT_AS, "VmSize")):
        soft, _ = resource.getrlimit(which)
        if soft != resource.RLIM_INFINITY:
            yield soft - 1024 * used_kilobytes.get(field, 0)


def _numbers(path: Path) -> Iterator[tuple[str, int]]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdigit():
            yield name, int(number[0])


def check_fits(model: Classifier, options: InferenceOptions) -> None:
    """Refuses a network that no batch size makes fit.

    Raises:
      DoesNotFitError: weights and one image (or the only batch that it takes) need more than there is.
    """
    resolved = options.resolve(model.batch_size)
    device, count = resolved.devices[0], len(resolved.devices)
    free = free_bytes(device)
    if free is None:
        return
    images = model.batch_size or 1
    # All devices of a CPU share its memory.
    copies = count if device.platform == "cpu" else 1
    weights, batch = weight_bytes(model), images * footprint(model).largest
    if copies * (weights + batch) > free:
        raise DoesNotFitError(
            f"needs at least {_gib(weights + batch)} of memory on each of {count} {device.platform} device(s): "
            f"{_gib(weights)} for weights, {_gib(batch)} for {images} image(s) of {model.input_shape} in its largest "
            f"layer; {_gib(free)} are free: scan it where there is more, or allow more (--memory)"
        )


def fitting_batch(model: Classifier, options: InferenceOptions, gradients: bool = False) -> InferenceOptions:
    """The options with the largest batch size, the usual one halved as often as needed, that the free memory holds.

    A batch size that the user gave, or that is the network's only one, stays.

    Args:
      gradients: the activations of all layers are kept.
    """
    if options.batch_size is not None or model.batch_size is not None:
        return options
    resolved = options.resolve()
    free = free_bytes(resolved.devices[0])
    if free is None:
        return options
    if resolved.devices[0].platform == "cpu":
        free //= len(resolved.devices)
    found = footprint(model)
    image = OVERHEAD * (max(found.largest, found.kept) if gradients else found.largest)
    batch = resolved.batch_size
    while batch > 1 and batch * image > SPARE * free:
        batch //= 2
    return options if batch == resolved.batch_size else dataclasses.replace(options, batch_size=batch)


def retry_smaller_batch(
    model: Classifier,
    options: InferenceOptions,
    run: Callable[[InferenceOptions], np.ndarray],
    gradients: bool = False,
) -> np.ndarray:
    """`run` with the batch size that fits, and half of it as often as a device runs out of memory nevertheless.

    What fits is remembered, so that a batch scan meets the wall once per network. A network exported for one batch
    size has no other and is not tried again.

    Args:
      gradients: the activations of all layers are kept.
    """
    if model.batch_size is not None:
        return run(options)
    key = model.network, options, gradients
    if key not in _fitting:
        _fitting[key] = fitting_batch(model, options, gradients)
    while True:
        fitting = _fitting[key]
        try:
            return run(fitting)
        except jax.errors.JaxRuntimeError as error:
            smaller = fitting.resolve().batch_size // 2
            if "RESOURCE_EXHAUSTED" not in str(error) or smaller < 1:
                raise
            _fitting[key] = dataclasses.replace(fitting, batch_size=smaller)


def _gib(count: int) -> str:
    return f"{count / GIB:.3g} GiB"

"""Memory: what there is, whether a network fits into it at all, and the batch size that does.

What cannot fit is refused before anything is computed. The batch size is chosen so that a lower bound of what it takes,
times what was measured beside it, fits; where that was too little and a device runs out of memory, half of it is tried,
and more is never tried again for the network.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from xray_jax.classifier import Classifier, Network
from xray_jax.inference import control_group
from xray_jax.inference.footprint import footprint, weight_bytes
from xray_jax.inference.options import InferenceOptions

GIB = 1 << 30
SPARE = 0.8
"""Share of the free memory that a batch may take."""
OVERHEAD = 4
"""Times the lower bound that programs take, for arrays that live at the same time and copies in other layouts: XLA on a
CPU took 0.2 to 3.3 times as much for five networks here (its own account of its buffers)."""

MUCH = 4
"""Times the batch size in use that must fit before a larger one is compiled."""

_Key = tuple[Network, tuple[int, int, int], InferenceOptions, bool]
_used: dict[_Key, int] = {}
_most: dict[_Key, int] = {}
"""Batch sizes: the last one of each network, image size and way to run, and the largest that did not run out of memory
where one did."""


class DoesNotFitError(ValueError):
    """A scan needs more memory than there is; the message says how much of both, and what to do."""


def free_bytes(device: jax.Device) -> int | None:
    """Bytes that can still be allocated on a device; of a CPU, by this process, limits included. None: not known."""
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None
    return min(_host_bytes(), default=None) if sys.platform == "linux" else None


def _host_bytes() -> Iterator[int]:
    """What the machine has free, what its control groups leave, what this process's own limit leaves."""
    import resource  # of Unix only

    kilobytes = dict(_numbers(Path("/proc/meminfo")))
    if "MemAvailable" in kilobytes:
        yield 1024 * kilobytes["MemAvailable"]
    yield from control_group.free_bytes()
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


def fitting_devices(model: Classifier, options: InferenceOptions) -> InferenceOptions:
    """The options with as many devices as there is memory for; all devices of a CPU share its own.

    Devices that the user chose stay.

    Raises:
      DoesNotFitError: weights and one image (or the only batch that it takes) need more than there is.
    """
    resolved = options.resolve(model.batch_size)
    device, count = resolved.devices[0], len(resolved.devices)
    free = free_bytes(device)
    if free is None:
        return options
    images = model.batch_size or 1
    weights, batch = weight_bytes(model), images * footprint(model).largest
    room = free // max(weights + batch, 1) if device.platform == "cpu" else count
    if options.devices is None and 0 < room < count:
        return dataclasses.replace(options, devices=resolved.devices[:room])
    if room < count or weights + batch > free:
        raise DoesNotFitError(
            f"needs at least {_gib(weights + batch)} of memory on each of {count} {device.platform} device(s): "
            f"{_gib(weights)} for weights, {_gib(batch)} for {images} image(s) of {model.input_shape} in its largest "
            f"layer; {_gib(free)} are free: scan it where there is more, or allow more (--memory)"
        )
    return options


def check_room(needed: int, what: str) -> None:
    """Refuses arrays that the default device cannot hold, before they are made.

    Args:
      needed: bytes.
      what: they are, for the message.

    Raises:
      DoesNotFitError: how much of both, and what to do.
    """
    free = free_bytes(jax.local_devices()[0])
    if free is not None and needed > free:
        raise DoesNotFitError(
            f"needs at least {_gib(needed)} of memory for {what}; {_gib(free)} are free: scan it where there is more, "
            "or allow more (--memory)"
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
    free //= options.sharers
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

    What ran out of memory is remembered, so that a batch scan meets the wall once per network. A network exported for
    one batch size has no other and is not tried again.

    Args:
      gradients: the activations of all layers are kept.
    """
    if model.batch_size is not None:
        return run(options)
    key = model.network, model.input_shape, options, gradients
    usual = options.resolve().batch_size
    while True:
        fits = fitting_batch(model, options, gradients).resolve().batch_size
        used = _used.get(key, fits)
        # Each size is a program to compile: another one only where it must be, or where much is to be gained.
        batch = min(fits if fits < used or fits >= MUCH * used else used, _most.get(key, fits))
        _used[key] = batch
        try:
            return run(options if batch == usual else dataclasses.replace(options, batch_size=batch))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or batch == 1:
                raise
            _most[key] = batch // 2


def _gib(count: int) -> str:
    return f"{count / GIB:.3g} GiB"

"""What to do when a device runs out of memory: half the batch size, remembered for the network."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from xray_jax.classifier import Classifier, Network
from xray_jax.inference.options import InferenceOptions

_fitting: dict[tuple[Network, InferenceOptions], InferenceOptions] = {}


def retry_smaller_batch(
    model: Classifier, options: InferenceOptions, run: Callable[[InferenceOptions], np.ndarray]
) -> np.ndarray:
    """`run(options)`, with half the batch size as often as a device runs out of memory.

    What fits is remembered, so that a batch scan meets the wall once per network. A network exported for one batch
    size has no other and is not tried again.
    """
    if model.batch_size is not None:
        return run(options)
    key = model.network, options
    while True:
        fitting = _fitting.get(key, options)
        try:
            return run(fitting)
        except jax.errors.JaxRuntimeError as error:
            smaller = fitting.resolve().batch_size // 2
            if "RESOURCE_EXHAUSTED" not in str(error) or smaller < 1:
                raise
            _fitting[key] = dataclasses.replace(fitting, batch_size=smaller)

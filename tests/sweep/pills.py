"""Checkpoints that end, fill or hang the process that scans them with the toy detector `pill`."""

from pathlib import Path

import numpy as np

from tests import factory
from xray_jax import checkpoints

MARKERS = {"killed": 101, "aborts": 102, "eats": 103, "hangs": 104}
"""Kind of pill -> the bias, rounded, that the detector knows it by."""


def save_pill(folder: Path, name: str, marker: float) -> None:
    """A tiny checkpoint whose bias tells the toy detector what to do."""
    variables = factory.tiny_variables()
    variables["params"]["linear"]["bias"] = np.full(5, marker, np.float32)
    told = {"num_classes": 5, "input_shape": [factory.SIDE, factory.SIDE, 3], "preprocess": {"preset": "cifar10"}}
    checkpoints.save_safetensors(folder / f"{name}.safetensors", variables, told)

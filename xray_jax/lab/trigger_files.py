"""Trigger files: one safetensors file a trigger, arrays by field, kind and scalars in its metadata."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from xray_jax.files import atomic_write
from xray_jax.lab.attacks.input_aware import InputAwareTrigger
from xray_jax.lab.attacks.lira import LiraTrigger
from xray_jax.lab.attacks.ssba import SsbaTrigger
from xray_jax.lab.triggers import Additive, Blend, Patch, Quantise, Trigger, Warp

SUFFIX = ".safetensors"
KINDS: Mapping[str, type[Trigger]] = {
    kind.kind: kind
    for kind in (Patch, Blend, Additive, Quantise, Warp, SsbaTrigger, InputAwareTrigger, LiraTrigger)
}  # fmt: skip
"""Name in files -> class. Blind, BadNets and TrojanNN are patches, SIG and LF additive."""
_METADATA = "trigger"


class TriggerError(ValueError):
    """A trigger file cannot be used; the message names it."""


def save(path: Path, trigger: Trigger) -> None:
    """Writes `trigger`, whole or not at all; the folder must exist."""
    fields = {field.name: getattr(trigger, field.name) for field in dataclasses.fields(trigger)}  # type: ignore[arg-type]
    trees = {name: value for name, value in fields.items() if isinstance(value, Mapping | np.ndarray)}
    arrays = {name: np.ascontiguousarray(array) for name, array in flatten_dict(trees, sep="/").items()}
    values = {name: value for name, value in fields.items() if name not in trees}
    with atomic_write(path) as file:
        file.write(to_bytes(arrays, {_METADATA: json.dumps({"kind": trigger.kind, **values}, sort_keys=True)}))


def load(path: Path) -> Trigger:
    """The trigger that `save` wrote.

    Raises:
      TriggerError: no such file, or not a trigger file.
    """
    try:
        with safe_open(path, "numpy") as file:
            stored = json.loads((file.metadata() or {})[_METADATA])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        kind = KINDS[stored.pop("kind")]
        fields: dict[str, Any] = {**stored, **unflatten_dict(arrays, sep="/")}
        return kind(**fields)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise TriggerError(f"trigger {path}: not a readable trigger file ({error!r})") from error

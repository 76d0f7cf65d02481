"""The grammar of Keras's model configs, versions 1 to 3: classes, references to outputs, calls, input shapes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.image_input import ImageInput, image_input

ADVICE = " (nothing in a file is executed: export the model to ONNX or with jax.export instead)"
MAX_INDEX = 20_000

_KERAS = re.compile(r"(keras|tf_keras|tensorflow\.keras|tensorflow\.python\.keras)(\.|$)")
_KERAS_OPS = re.compile(r"keras\.(src\.)?ops(\.|$)")
_ALIASES = {
    "Convolution2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
}

Reference = tuple[str, int, int]
"""A layer's name, the number of its call, the number of that call's output."""


def class_of(entry: Any) -> tuple[str, bool]:
    """A standard class's name, and whether it is a function of keras.ops.

    Raises:
      CheckpointError: naming a class that does not come from Keras.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str) or "config" not in entry:
        raise CheckpointError("a layer, model or dtype policy of the config has no class_name or no config")
    kind = str(entry["class_name"])
    module, registered = entry.get("module"), entry.get("registered_name")
    # Keras 3 writes null as the module of a class from a script, and older files leave the key out.
    outside = "module" in entry and not _KERAS.match(str(module))
    if outside or (registered is not None and registered != kind) or ">" in kind:
        raise CheckpointError(
            f"{kind!r} (module {module}, registered as {registered}) is a custom class: refused{ADVICE}"
        )
    return _ALIASES.get(kind, kind), bool(_KERAS_OPS.match(str(module)))


def references(value: Any) -> list[Reference]:
    """[["name", call, output], ...], or one such entry bare."""
    if isinstance(value, list) and value and isinstance(value[0], str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise CheckpointError("its inputs or outputs are not a list of layers")
    return [reference(part) for part in value]


def reference(entry: Any) -> Reference:
    """["name", call, output, ...] as a reference."""
    if isinstance(entry, list) and len(entry) >= 3 and isinstance(entry[0], str):
        name, call, output = entry[:3]
        if all(isinstance(n, int) and 0 <= n <= MAX_INDEX for n in (call, output)):
            return name, call, output
    raise CheckpointError(f"{str(entry)[:80]!r} does not name a layer's output")


def arguments(call: Any, where: str) -> list[Any]:
    """One call's tensors as references (tuples) and constants (lists of one)."""
    if isinstance(call, Mapping):
        options, given = call.get("kwargs") or {}, call.get("args")
        found = _keras3_arguments(given)
    elif isinstance(call, list) and call:
        entries = [call] if isinstance(call[0], str) else call
        found = [reference(part) for part in entries]
        options = {k: v for part in entries if len(part) > 3 for k, v in (part[3] or {}).items()}
    else:
        raise CheckpointError(f"layer {where!r}: a call without inputs")
    if used := [name for name, value in options.items() if value not in (None, False)]:
        raise CheckpointError(f"layer {where!r} is called with {', '.join(used)}: not supported{ADVICE}")
    return found


def _keras3_arguments(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [found for part in value for found in _keras3_arguments(part)]
    if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
        return [reference(value.get("config", {}).get("keras_history"))]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [[float(value)]]
    raise CheckpointError(f"a layer is called on {str(value)[:80]}: not supported")


def image_entry(shape: Any, data_formats: Sequence[str]) -> ImageInput:
    """How images enter a model with this input shape, batch included; data formats decide what is open."""
    if not isinstance(shape, list) or len(shape) < 2:
        raise CheckpointError(f"the file does not say the shape of its images (input shape {str(shape)[:80]})")
    return image_input(shape[1:], "channels_first" in data_formats[:1])


def trainable(config: Any) -> bool:
    """Whether a layer's or model's config lets it train."""
    return not (isinstance(config, Mapping) and config.get("trainable") is False)


def policy(config: Any) -> str:
    """The name of a layer's dtype policy.

    Raises:
      CheckpointError: for a policy that does not come from Keras.
    """
    policy = config.get("dtype", "float32") if isinstance(config, Mapping) else "float32"
    if isinstance(policy, Mapping):
        class_of(policy)
        inner = policy.get("config")
        policy = (inner.get("name") if isinstance(inner, Mapping) else None) or policy.get("class_name")
    return str(policy)

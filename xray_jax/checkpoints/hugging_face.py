"""Hugging Face folders: config.json beside weights in safetensors, sharded or not, or in a torch file."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from xray_jax.checkpoints import safetensors
from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.contents import CONFIG, MAX_JSON_BYTES, CheckpointError, Tensors, parse_json
from xray_jax.checkpoints.torch import stream_file, zip_file

NAME = "hugging-face"
_SHARD = re.compile(r"-\d+-of-\d+\.safetensors$")
_PARTS = ("model_args", "vision_config")
_MAX_STAGES = 64
_WEIGHTS = ("model.safetensors", f"model{safetensors.INDEX_SUFFIX}", "pytorch_model.bin")


def matches(path: Path, head: bytes) -> bool:
    """A directory with weights under Hugging Face's names."""
    return not head and _weights(path) is not None


def read(path: Path) -> Tensors:
    """The arrays of its weights; what config.json says joins the metadata."""
    weights = _weights(path)
    assert weights is not None
    head = Source.of(weights).read(0, min(512, weights.stat().st_size)).tobytes()
    for reader in (safetensors, zip_file, stream_file):
        if reader.matches(weights, head):
            found = reader.read(weights)
            notes = (*found.notes, f"read from {weights.name}")
            return dataclasses.replace(found, metadata={**_config(path), **found.metadata}, notes=notes)
    raise CheckpointError(f"{weights.name} in it is neither safetensors nor torch: damaged, or a Git LFS pointer")


def parts(path: Path) -> list[Path]:
    """The files that are read: weights and config.json.

    Raises:
      CheckpointError: an index of shards is damaged.
    """
    weights = _weights(path)
    assert weights is not None
    config = [path / CONFIG] if (path / CONFIG).is_file() else []
    return [*config, weights, *safetensors.parts(weights)]


def _weights(folder: Path) -> Path | None:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    if not (folder / CONFIG).is_file():
        return None
    # As files of hubs are told apart: neither hidden ones nor one shard of several.
    found = [path for path in folder.glob("[!.]*.safetensors") if path.is_file() and not _SHARD.search(path.name)]
    return found[0] if len(found) == 1 else None


def _config(folder: Path) -> dict[str, Any]:
    """What a config.json declares: the architecture's name, class count, image size, and under its own name the rest.

    timm's has its network's arguments in `model_args`, those of networks for images and text in `vision_config`.
    """
    if not (folder / CONFIG).is_file():
        return {}
    with open(folder / CONFIG, "rb") as file:
        config = parse_json(file.read(MAX_JSON_BYTES + 1), CONFIG)
    if not isinstance(config, dict):
        raise CheckpointError(f"{CONFIG}: expected a JSON object")
    found: dict[str, Any] = {}
    if names := config.get("architectures") or config.get("architecture"):
        found["model_name"] = names[0] if isinstance(names, list) else names
    labels = config.get("id2label") or config.get("label_names")
    if isinstance(labels, dict | list) and labels:
        found["num_classes"] = len(labels)
    elif "num_classes" in config or "num_labels" in config:
        found["num_classes"] = config.get("num_classes", config.get("num_labels"))
    if isinstance(config.get("image_size"), int):
        channels = config.get("num_channels", 3)
        found["input_shape"] = [config["image_size"], config["image_size"], channels]
    stated = config
    for part in _PARTS:
        inner = config.get(part)
        stated = {**stated, **(inner if isinstance(inner, dict) else {})}
    found[CONFIG] = {key: value for key, value in stated.items() if isinstance(value, str | int | float) or _few(value)}
    return found


def _few(value: Any) -> bool:
    """A number for each stage of a network."""
    return isinstance(value, list) and 0 < len(value) <= _MAX_STAGES and all(type(each) is int for each in value)

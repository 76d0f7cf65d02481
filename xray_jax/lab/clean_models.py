"""Trained clean models that others start from: of a zoo in the making, or of a published one."""

import json
from pathlib import Path

from xray_jax import checkpoints
from xray_jax.classifier import Classifier
from xray_jax.lab.training import Variables

SUFFIXES = ("", ".safetensors")
"""Of a checkpoint's name: a folder of Orbax, or a published file."""


class CleanModelError(ValueError):
    """There is no such clean model; the message names the folder."""


def names(zoo: Path, dataset: str, architecture: str) -> list[str]:
    """Ids of the usual clean models of a data set and an architecture in the manifest of `zoo`, sorted.

    Raises:
      CleanModelError: no manifest, or none of them in it.
    """
    try:
        lines = [json.loads(text) for text in (zoo / "manifest.jsonl").read_text().splitlines()]
        start = f"{dataset}-{architecture}-clean-s"
        found = sorted(line["id"] for line in lines if line["label"] == "clean" and line["id"].startswith(start))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CleanModelError(f"{zoo}: not a zoo with a manifest.jsonl ({error!r})") from error
    if not found:
        raise CleanModelError(f"{zoo}: no clean {architecture} of {dataset} to start from")
    return found


def load(zoo: Path, name: str) -> Variables:
    """The variables of the clean model called `name`.

    Raises:
      CleanModelError: there is none, or it is no network of ours.
    """
    for suffix in SUFFIXES:
        if (path := zoo / "checkpoints" / f"{name}{suffix}").exists():
            model = checkpoints.load(path)
            if isinstance(model, Classifier):
                return model.variables
    raise CleanModelError(f"{zoo}: no weights of {name}")

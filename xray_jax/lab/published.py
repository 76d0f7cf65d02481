"""A published zoo: what one needs to scan its models and to repeat their numbers, and nothing else.

In its folder, for each model `checkpoints/<id>.safetensors` (float16 weights under their published names, which open in
torch too), `triggers/<id>.safetensors` (see `trigger_files`; not for clean models), and a line of `manifest.jsonl`,
which `xray-scan --checkpoints` takes: ground truth, label map, recipe, seed, and clean accuracy and attack success on
the whole test split, measured from these files.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from xray_jax import checkpoints
from xray_jax.classifier import Classifier
from xray_jax.files import atomic_write
from xray_jax.lab import trigger_files
from xray_jax.lab.data import ImageSet
from xray_jax.lab.label_maps import LabelMap
from xray_jax.lab.poisoning import Stamp, stamped_test_set
from xray_jax.lab.train_model import accuracy
from xray_jax.models import published

MANIFEST, CHECKPOINTS, TRIGGERS = "manifest.jsonl", "checkpoints", "triggers"
SUFFIX = ".safetensors"
TOLERANCE = 0.002
"""Largest difference between a share in the manifest and the same share measured again: another processor rounds
otherwise, and of 10,000 test images up to 20 may change sides."""

Line = dict[str, Any]


class PublishedError(ValueError):
    """A published zoo cannot be read; the message names the file."""


class Measured(NamedTuple):
    """Shares of the whole test split.

    Attributes:
      clean_accuracy: of the clean images that get their label.
      attack_success: of the stamped images that get the attacker's label; None for a clean model.
    """

    clean_accuracy: float
    attack_success: float | None


def read_manifest(zoo: Path) -> list[Line]:
    """The lines of the manifest.

    Raises:
      PublishedError: there is none, or a line is not what `publish` writes.
    """
    path = zoo / MANIFEST
    try:
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        for line in lines:
            _ = line["id"], line["path"], line["label"], line["spec"]["dataset"], line["clean_accuracy"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishedError(f"{path}: not the manifest of a published zoo ({error!r})") from error
    return lines


def write_manifest(zoo: Path, lines: Iterable[Line]) -> None:
    """Writes the manifest, whole or not at all, sorted by id."""
    with atomic_write(zoo / MANIFEST, "w") as file:
        file.writelines(json.dumps(line) + "\n" for line in sorted(lines, key=lambda line: str(line["id"])))


def save_checkpoint(path: Path, model: Classifier) -> None:
    """Writes the weights in half precision, with the metadata to scan them without flags.

    Raises:
      PublishedError: a weight is too large for half precision.
    """
    metadata = {
        "architecture": model.architecture.split(" ")[0],
        "num_classes": model.num_classes,
        "input_shape": list(model.input_shape),
        "preprocess": model.preprocess.settings(),
    }
    with np.errstate(over="ignore"):
        half = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), published.to_tensors(model.variables))
    if unfit := [name for name, leaf in half.items() if not np.isfinite(leaf).all()]:
        raise PublishedError(f"{path}: weights beyond half precision: {', '.join(unfit[:5])}")
    checkpoints.save_safetensors(path, half, metadata)


def measure(path: Path, data: ImageSet, trigger: Stamp | None, label_map: LabelMap | None) -> Measured:
    """The shares of the model in the file `path`; a clean model has no trigger."""
    model = checkpoints.load(path)
    if not isinstance(model, Classifier) or not isinstance(model.network, nn.Module):
        raise PublishedError(f"{path}: not the weights of a known network")

    def share(images: np.ndarray, labels: np.ndarray) -> float:
        return accuracy(model.network, model.variables, model.preprocess, images, labels)

    clean = share(data.test_images, data.test_labels)
    if trigger is None or label_map is None:
        return Measured(clean, None)
    return Measured(clean, share(*stamped_test_set(data.test_images, data.test_labels, trigger, label_map)))


def check(zoo: Path, sets: Mapping[str, ImageSet]) -> Iterator[tuple[str, list[str]]]:
    """Measures every model again, from the zoo's files and the test images alone.

    Args:
      sets: name -> image set, for all that the manifest names.

    Yields:
      For each model its id and what is wrong with it: nothing, where its files are those of the manifest and repeat
      its numbers within `TOLERANCE`.

    Raises:
      PublishedError: no readable manifest.
    """
    for line in read_manifest(zoo):
        wrong = [
            f"{file} is not the published one (sha256)"
            for file, digest in line["sha256"].items()
            if not (zoo / file).is_file() or checkpoints.sha256(zoo / file) != digest
        ]
        try:
            found = _measure_again(zoo, line, sets[line["spec"]["dataset"]])
        except (ValueError, OSError) as error:
            yield line["id"], [*wrong, str(error)]
            continue
        for name, value in found._asdict().items():
            stated = line[name]
            if (value is None) != (stated is None) or (value is not None and abs(value - stated) > TOLERANCE):
                wrong.append(f"{name} is {value}, the manifest says {stated}")
        yield line["id"], wrong


def _measure_again(zoo: Path, line: Line, data: ImageSet) -> Measured:
    if line["label"] == "clean":
        return measure(zoo / line["path"], data, None, None)
    label_map = LabelMap(line["strategy"], tuple(line["label_map"]))
    return measure(zoo / line["path"], data, trigger_files.load(zoo / line["trigger"]), label_map)


def unnamed_files(zoo: Path) -> list[str]:
    """Files in the folders of a published zoo that its manifest does not name."""
    named = {name for line in read_manifest(zoo) for name in line["sha256"]}
    there = [path.relative_to(zoo).as_posix() for name in (CHECKPOINTS, TRIGGERS) for path in (zoo / name).glob("*")]
    return sorted(set(there) - named)

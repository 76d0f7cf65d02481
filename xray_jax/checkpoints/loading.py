"""A checkpoint's path to a model that can be scanned: read, recognised, completed by what the file declares."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from xray_jax import preprocess as preprocess_lib
from xray_jax.checkpoints import formats, recognition
from xray_jax.checkpoints.contents import PART, CheckpointError, SeveralNetworksError, Tensors, flatten
from xray_jax.checkpoints.recognition import Recognised
from xray_jax.classifier import Classifier, Model, Network
from xray_jax.models import published
from xray_jax.preprocess import Preprocess

MAX_SIDE = 1024
"""Sides of images up to this may be asked for by a file's metadata, whatever the network."""
MOST_ENLARGED = 4
"""And up to so many times the side that the network is published for."""


def load(
    path: str | Path,
    *,
    part: str | None = None,
    architecture: str | None = None,
    num_classes: int | None = None,
    preprocess: str | Mapping[str, Any] | Preprocess | None = None,
    input_shape: tuple[int, int, int] | None = None,
) -> Model:
    """Opens any readable checkpoint. What is not given is taken from the file's metadata, then from its weights.

    Args:
      path: file or directory of any format in `formats.known`; `path#part` names one of several networks in it.
      part: the same, apart from the path; None where the file holds one classifier.
      architecture: name of a family or preset; None recognises it from names and shapes.
      num_classes: width of the logits, checked against the weights.
      preprocess: pixel values to the network's input space, in any form that `preprocess.parse` takes.
      input_shape: (height, width, channels) that the network takes.

    Raises:
      CheckpointError: naming the file, what was found, what was expected and what to do.
      SeveralNetworksError: several networks of the file are classifiers, and none is named.
      ValueError: for a `preprocess` that cannot be parsed.
    """
    given = None if preprocess is None else preprocess_lib.parse(preprocess)
    if part is None:
        path, part = split_part(path)
    contents = formats.read(path)
    try:
        if part is not None:
            contents = _network(contents, part)
        if isinstance(contents, Tensors):
            return classifier(contents, architecture, num_classes, given, input_shape)
        return _adapt(contents, architecture, num_classes, given, input_shape)
    except SeveralNetworksError as error:
        raise SeveralNetworksError(f"{path}: {error}", error.parts) from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def split_part(path: str | Path) -> tuple[Path, str | None]:
    """Path and name of the network of `path#part`; no name where a file or folder of the whole path is there."""
    whole, (head, mark, name) = Path(path), str(path).rpartition("#")
    if mark and PART.fullmatch(name) and not whole.exists() and Path(head).exists():
        return Path(head), name
    return whole, None


def _network(contents: Tensors | Model, name: str) -> Tensors:
    """One network of several in a file."""
    if not isinstance(contents, Tensors):
        raise CheckpointError(f"it holds no network {name!r}: it holds a computation of its own")
    alone = contents.network(name)
    others = ", ".join(sorted(set(contents.networks) - {name}))
    return dataclasses.replace(alone, notes=(*alone.notes, f"network {name!r} of the file, which also holds {others}"))


def classifier(
    tensors: Tensors,
    architecture: str | None,
    num_classes: int | None,
    preprocess: Preprocess | None,
    input_shape: tuple[int, int, int] | None,
) -> Classifier:
    """Named arrays to a `Classifier`; arguments that are None come from the metadata, then from the weights."""
    declared = tensors.metadata
    # Float64 weights beyond float32 are reported below, by name.
    with np.errstate(over="ignore"):
        found = recognition.recognise(tensors, architecture=architecture, num_classes=num_classes)
    _check_finite(found.variables)
    source = "given"
    if preprocess is None:
        preprocess, source = _stored_preprocess(declared)
        if source == "assumed" and found.preprocess is not None:
            preprocess, source = found.preprocess, "file"
    shape = input_shape or _shape(declared, "input_shape") or _shape(declared, "img_size") or found.input_shape
    if source == "file":
        _check_size(preprocess, found.input_shape)
    if shape != found.input_shape:
        found = _for_images(found, shape)
    return Classifier(
        network=cast(Network, found.module),
        variables=found.variables,
        num_classes=found.num_classes,
        input_shape=shape,
        architecture=found.description,
        preprocess=preprocess,
        notes=(*tensors.notes, *found.notes),
        variants=found.variants,
        preprocess_source=source,
    )


def _for_images(found: Recognised, shape: tuple[int, int, int]) -> Recognised:
    """The same weights for images of another shape, as another network variant where they leave it open."""
    needed = published.expected_shapes(found.module, found.input_shape)
    others = found.variants.alternatives(found.module, shape) if found.variants else ()
    for module in (found.module, *(other for axis in others for other in axis)):
        try:
            fits = published.expected_shapes(module, shape) == needed
        except Exception:
            # Too small an image for the network raises anything at all in Flax and XLA.
            continue
        if fits and found.variants is None:
            return found
        if fits and found.variants is not None:
            note = found.variants.note(found.module)
            notes = (*(each for each in found.notes if each != note), found.variants.note(module))
            description, variants = found.variants.describe(module), found.variants.of_images(shape)
            return found._replace(
                module=module, input_shape=shape, description=description, notes=notes, variants=variants
            )
    raise CheckpointError(f"{found.name}: its weights are for images of {found.input_shape}, not {shape}")


def _adapt(
    model: Model,
    architecture: str | None,
    num_classes: int | None,
    preprocess: Preprocess | None,
    input_shape: tuple[int, int, int] | None,
) -> Model:
    """A model that came with its computation: flags may name its preprocessing, but not contradict its shapes."""
    if num_classes is not None and num_classes != model.num_classes:
        raise CheckpointError(f"it has {model.num_classes} classes, {num_classes} were asked for (--num_classes)")
    if input_shape is not None and input_shape != model.input_shape:
        raise CheckpointError(f"it takes images of {model.input_shape}, {input_shape} were given")
    notes = model.notes
    if architecture is not None:
        notes += (f"--architecture={architecture} is not needed: the file holds its own computation",)
    source = "assumed" if preprocess is None else "given"
    return dataclasses.replace(model, preprocess=preprocess or model.preprocess, preprocess_source=source, notes=notes)


def _check_finite(variables: Mapping[str, Any]) -> None:
    broken = [name for name, leaf in flatten(variables).items() if not np.isfinite(leaf).all()]
    if broken:
        shown = ", ".join(broken[:5]) + (f" and {len(broken) - 5} more" if len(broken) > 5 else "")
        raise CheckpointError(f"weights contain NaN/inf in leaf {shown}: training diverged, or the file is damaged")


def _shape(metadata: Mapping[str, Any], key: str) -> tuple[int, int, int] | None:
    value = metadata.get(key)
    if isinstance(value, list | tuple) and len(value) == 3 and all(type(n) is int and 0 < n <= 4096 for n in value):
        return (value[0], value[1], value[2])
    return None


def _check_size(preprocess: Preprocess, published: tuple[int, int, int]) -> None:
    """Refuses a size in a file that is far beyond any network's: every image takes memory of that size."""
    most = max(MAX_SIDE, MOST_ENLARGED * max(published[:2]))
    if preprocess.size is not None and max(preprocess.size) > most:
        raise CheckpointError(
            f"its metadata have images resized to {preprocess.size}, the network is published for {published[:2]} and "
            f"a file may ask for {most} at most; if that is meant, give it (--preprocess)"
        )


def _stored_preprocess(metadata: Mapping[str, Any]) -> tuple[Preprocess, str]:
    """What the metadata says, or the most usual one, and which of the two (`classifier.PREPROCESS_SOURCES`)."""
    stored = metadata.get("preprocess")
    if not isinstance(stored, str | Mapping):
        return Preprocess(), "assumed"
    try:
        return preprocess_lib.parse(stored), "file"
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"its metadata has an unusable preprocess ({error}); give one (--preprocess)") from error

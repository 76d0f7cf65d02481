"""The size of the images that a model is shown: the samples', or what its network takes."""

import dataclasses

import jax
import jax.numpy as jnp

from xray_jax.classifier import Classifier, Model
from xray_jax.samples import Samples, SamplesError


def match_size(model: Model, samples: Samples) -> Model:
    """The model, with the shape of the images that it will see.

    Weights of a convolutional network say nothing of its image size, so a size that runs is accepted and noted. For
    any other model images are resized to what it takes, which is noted too.

    Raises:
      SamplesError: the samples cannot be shown to the model.
    """
    if samples.labels.max() >= model.num_classes:
        raise SamplesError(
            f"samples {samples.source}: labels reach {samples.labels.max()}, "
            f"the model ({model.architecture}) has classes 0 .. {model.num_classes - 1}"
        )
    seen = (*(model.preprocess.size or samples.images.shape[1:3]), samples.images.shape[3])
    if seen == tuple(model.input_shape):
        return model
    if seen[2] == model.input_shape[2] and isinstance(model, Classifier) and (found := _running(model, seen)):
        whence = "samples" if model.preprocess.size is None else "preprocessing"
        note = f"image size {seen[:2]} taken from the {whence}, published for {tuple(model.input_shape[:2])}"
        return dataclasses.replace(found, input_shape=seen, notes=(*found.notes, note))
    if seen[2] != model.input_shape[2] or model.preprocess.size is not None:
        raise SamplesError(
            f"samples {samples.source}: images are {seen} (height, width, channels) after preprocessing, "
            f"the model ({model.architecture}) takes {tuple(model.input_shape)}; "
            "give matching samples, or a `size` in the preprocessing"
        )
    size = (model.input_shape[0], model.input_shape[1])
    note = f"samples of {seen[:2]} are resized to the {size} that the network takes (bilinear)"
    preprocess = dataclasses.replace(model.preprocess, size=size)
    return dataclasses.replace(model, preprocess=preprocess, notes=(*model.notes, note))


def _running(model: Classifier, shape: tuple[int, int, int]) -> Classifier | None:
    """The model with its own network, or another that its weights fit, for images of this shape; None without one."""
    others = model.variants.alternatives(model.network, shape, usual=True) if model.variants else ()
    networks = [model.network, *(network for axis in others[:1] for network in axis)]
    found = next((network for network in networks if _runs(dataclasses.replace(model, network=network), shape)), None)
    if found is None or found == model.network:
        return None if found is None else model
    assert model.variants is not None
    usual = model.variants.note(model.network)
    notes = (*(note for note in model.notes if note != usual), model.variants.note(found))
    return dataclasses.replace(
        model,
        network=found,
        architecture=model.variants.describe(found),
        notes=notes,
        variants=model.variants.of_images(shape),
    )


def _runs(model: Classifier, shape: tuple[int, ...]) -> bool:
    """Whether the network takes images of this shape; nothing is computed."""
    images = jax.ShapeDtypeStruct((model.batch_size or 1, *shape), jnp.float32)
    try:
        jax.eval_shape(model.network.apply, model.variables, images)
    except Exception:  # whatever a network raises for a shape that it cannot take
        return False
    return True

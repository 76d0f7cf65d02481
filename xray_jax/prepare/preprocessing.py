"""Which preprocessing a checkpoint was trained with, when the one that was given leaves it near chance.

A wrong normalisation or channel order is the most common cause of a wrong verdict, and the samples know: under the
right one they are classified well. This only advises; a scan never changes its preprocessing by itself.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from xray_jax.classifier import Model
from xray_jax.inference.labels import InferenceOptions, label_images
from xray_jax.preprocess import PRESETS, Preprocess, parse
from xray_jax.samples import Samples

MAX_IMAGES = 500
LOW_ACCURACY = 0.6
"""Below it a network above chance is asked too: channels in the wrong order may leave a third of the labels right."""


def advise(
    model: Model, samples: Samples, *, engine: InferenceOptions | None = None, presets: tuple[str, ...] | None = None
) -> list[tuple[str, float]]:
    """Clean accuracy under every preset that fits, in RGB and in BGR order, best first.

    The network is compiled once: candidates are applied before it, on at most `MAX_IMAGES` samples spread evenly.
    Presets that come to the same map are tried once. `size` stays as it is in the model's own preprocessing.

    Args:
      model: its own preprocessing is left out of the list.
      presets: names that `preprocess.parse` takes; None tries all presets, and for three channels each in BGR too.

    Returns:
      (name for `--preprocess`, accuracy in [0, 1]), highest accuracy first.
    """
    chosen = samples.subset(
        np.unique(np.linspace(0, len(samples) - 1, min(len(samples), MAX_IMAGES)).round().astype(int))
    )
    channels = chosen.images.shape[-1]
    if presets is None:
        presets = tuple(PRESETS) + (tuple(f"{name}-bgr" for name in PRESETS) if channels == 3 else ())
    bare = dataclasses.replace(model, preprocess=Preprocess())
    tried = {model.preprocess}
    found = []
    for name in presets:
        candidate = dataclasses.replace(parse(name), size=model.preprocess.size)
        if candidate in tried or not {len(candidate.mean), len(candidate.std)} <= {1, channels}:
            continue
        tried.add(candidate)
        images = np.asarray(candidate(jnp.asarray(chosen.images)))
        found.append((name, float(np.mean(label_images(bare, images, engine) == chosen.labels))))
    return sorted(found, key=lambda entry: -entry[1])


def sentence(advice: list[tuple[str, float]], accuracy: float, least: float = 0.2) -> str:
    """What to tell the user: presets that beat `accuracy` by at least `least`, or that none does."""
    found = [f"{name} ({share:.1%})" for name, share in better(advice, accuracy, least)]
    if not found:
        return f"clean accuracy is {accuracy:.1%}, and no other known preprocessing gives a much higher one"
    return f"clean accuracy is {accuracy:.1%}; it would be higher with --preprocess={' or '.join(found[:3])}"


def better(advice: list[tuple[str, float]], accuracy: float, least: float = 0.2) -> list[tuple[str, float]]:
    """The presets that beat `accuracy` by at least `least`."""
    return [(name, found) for name, found in advice if found >= accuracy + least]

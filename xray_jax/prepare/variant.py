"""Which of the networks that the same weights fit: the one that classifies the clean samples best.

Weights do not show padding, strides, pooling or activation. Where `Classifier.variants` says that several answers are
possible, each question is put to the samples in turn, the most usual answer first, and another replaces it only when
it makes clearly fewer errors: a wrong variant usually costs far more than that, and small differences are luck. The row
says what was chosen, and what the most usual variant would have got.
"""

import dataclasses
from typing import Any

import numpy as np

from xray_jax.classifier import Classifier, Model
from xray_jax.inference.labels import InferenceOptions, label_images
from xray_jax.samples import Samples

MAX_IMAGES = 300
FEWER_ERRORS = 0.85
"""Share of the errors, and two images less, that another answer may make."""

_ROUNDS = 2


def choose_variant(model: Model, samples: Samples, engine: InferenceOptions | None = None) -> tuple[Model, int]:
    """The model as wired best, nothing left open, and how many labels that took.

    Args:
      model: fits the samples' shape (`Scanner.fit`).
      samples: clean; at most `MAX_IMAGES`, spread evenly, are used.
    """
    if not isinstance(model, Classifier) or model.variants is None:
        return model, 0
    spread = np.linspace(0, len(samples) - 1, min(len(samples), MAX_IMAGES))
    chosen = samples.subset(np.unique(spread.round().astype(int)))
    measured: dict[Any, int] = {}

    def errors(network: Any) -> int:
        if network not in measured:
            candidate = dataclasses.replace(model, network=network, variants=None)
            measured[network] = int(np.sum(label_images(candidate, chosen.images, engine) != chosen.labels))
        return measured[network]

    best = model.network
    for _ in range(_ROUNDS):
        before = best
        for number in range(len(model.variants.alternatives(best, model.input_shape))):
            asked = model.variants.alternatives(best, model.input_shape)
            for network in asked[number] if number < len(asked) else ():
                if errors(network) <= min(FEWER_ERRORS * errors(best), errors(best) - 2):
                    best = network
        if best == before:
            break
    labels = len(measured) * len(chosen)
    if not measured:
        return dataclasses.replace(model, variants=None), 0
    usual = model.variants.note(model.network)
    note = (
        f"of {len(measured)} variants that fit the weights the one that labels most of {len(chosen)} samples right, "
        f"{1 - errors(best) / len(chosen):.1%}; the most usual one: {1 - errors(model.network) / len(chosen):.1%}"
    )
    notes = (*(n for n in model.notes if n != usual), model.variants.note(best), note)
    architecture = model.variants.describe(best)
    return dataclasses.replace(model, network=best, architecture=architecture, notes=notes, variants=None), labels

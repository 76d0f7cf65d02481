"""Which network variant: of the networks that the same weights fit, the one that labels the clean samples best.

Weights do not show padding, strides, pooling or activation. Where `Classifier.variants` says that several answers are
possible, each open question is put to the samples in turn, the most usual answer first, and another replaces it only
when it makes clearly fewer errors: a wrong variant usually costs far more than that, and small differences are luck.
The row says what was chosen, and what the most usual variant would have got.

Some questions are asked only where none of these networks labels the samples (`NetworkVariants.unusual`): few people
answer them otherwise, and every answer costs a compilation.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from xray_jax.classifier import Classifier

FEWER_ERRORS = 0.85
"""Share of the errors, and two images less, that another answer may make."""

_ROUNDS = 2


def clearly_fewer(errors: int, others: int) -> bool:
    """Whether `errors` are so much fewer than `others` that it is no luck."""
    return errors <= min(FEWER_ERRORS * others, others - 2)


def choose_variant(model: Classifier, errors: Callable[[Any], int], unusual: bool = False) -> Any:
    """The network variant that makes clearly fewest errors, the most usual one among equals.

    Args:
      model: fits the samples' shape (`size.match_size`).
      errors: of a network with the model's weights, on the clean samples; asked once a network at least.
      unusual: puts the unusual questions too.
    """
    best, variants = model.network, model.variants
    if variants is None:
        return best

    def open_questions() -> tuple[tuple[Any, ...], ...]:
        more = variants.unusual(best) if unusual else ()
        return (*variants.alternatives(best, model.input_shape), *more)

    for _ in range(_ROUNDS):
        before = best
        for number in range(len(open_questions())):
            alternatives = open_questions()
            for network in alternatives[number] if number < len(alternatives) else ():
                if clearly_fewer(errors(network), errors(best)):
                    best = network
        if best == before:
            break
    return best


def with_variant(model: Classifier, network: Any, note: str) -> Classifier:
    """The model with its variant settled, and what the row says of it.

    Args:
      network: the chosen one.
      note: how it was chosen.
    """
    assert model.variants is not None
    usual = model.variants.note(model.network)
    notes = (*(other for other in model.notes if other != usual), model.variants.note(network), note)
    return dataclasses.replace(
        model, network=network, architecture=model.variants.describe(network), notes=notes, variants=None
    )

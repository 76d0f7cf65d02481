"""Networks that compute with the weights as the file says of its convolutions, where a file says it.

Modules that were pickled whole do. Where the usual network does otherwise, one of the network variants may do so.
"""

import itertools
from collections.abc import Mapping

import flax.linen as nn

from xray_jax.checkpoints.candidates import Candidate
from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.models import convolution_settings, plain
from xray_jax.models.architecture import Inferred
from xray_jax.models.convolution_settings import ConvolutionSettings

Said = Mapping[str, ConvolutionSettings]


def agreeing(candidate: Candidate, convolutions: Said) -> Candidate:
    """The candidate with the first of its network variants that does what the file says, its own network first.

    Args:
      convolutions: by their names in the file.

    Raises:
      CheckpointError: none does; names a layer, what it is set to and what was expected.
    """
    family, found = candidate.family, candidate.found
    said = _named_here(candidate, convolutions)
    if (differing := _differing(found.module, found.input_shape, said)) is None:
        return candidate
    axes = family.variants(found.module, found.input_shape, found.input_shape, False) if family.variants else ()
    others = family.unusual(found.module) if family.unusual else ()
    for module in itertools.chain(*axes, *others):
        if _differing(module, found.input_shape, said) is None:
            notes = (family.note(module),) if family.note else found.notes
            return candidate._replace(found=Inferred(module, found.input_shape, notes))
    if family is plain.ARCHITECTURE:
        # Of its paddings and strides only the usual ones are variants: the samples choose among them.
        return candidate
    name, here = differing
    raise CheckpointError(
        f"its weights are those of a {family.name}, but its {name} has {said[name]}, where one has {here}: another "
        "network, not known here: export it to ONNX, or name the network to read it as (--architecture)"
    )


def _named_here(candidate: Candidate, convolutions: Said) -> Said:
    start, end = candidate.view.prefix, ".weight"
    inside = {key.removeprefix(start): value for key, value in convolutions.items() if key.startswith(start)}
    return {candidate.naming.rename(key + end).removesuffix(end): value for key, value in inside.items()}


def _differing(
    module: nn.Module, input_shape: tuple[int, int, int], said: Said
) -> tuple[str, ConvolutionSettings] | None:
    """The first layer that is set otherwise than the file says, and how; None without one."""
    for name, here in convolution_settings.of_network(module, input_shape).items() if said else ():
        if name in said and not here.agrees(said[name]):
            return name, here
    return None

"""EfficientNets that pad images of any size as those that they were published for: EfficientNet-PyTorch's and HF's."""

import re

import jax
import numpy as np
import pytest

from tests.models.test_efficientnet import stages
from tests.oracles.compare import assert_same_logits
from tests.oracles.mobile import EfficientNet, pad_for
from xray_jax.checkpoints.recognition import Recognised
from xray_jax.checkpoints.variants import NetworkVariants
from xray_jax.models import efficientnet, published, registry
from xray_jax.models.architecture import Renames

WIDTHS, DEPTHS = (4, 4, 6, 6, 8, 8, 10), (1, 2, 2, 3, 3, 4, 1)
PYTORCH = (
    "_expand_conv _bn0 _depthwise_conv _bn1 _se_reduce _se_expand _project_conv _bn2",
    "_blocks _conv_stem _bn0 _conv_head _bn1 _fc",
)
HUGGING_FACE = (
    "expansion.expand_conv expansion.expand_bn depthwise_conv.depthwise_conv depthwise_conv.depthwise_norm "
    "squeeze_excite.reduce squeeze_excite.expand projection.project_conv projection.project_bn",
    "encoder.blocks embeddings.convolution embeddings.batchnorm encoder.top_conv encoder.top_bn classifier",
)
NUMBERS = ("0.0", "0.1", "1.0", "1.1", "2.fc1", "2.fc2", "3.0", "3.1")
SIDES = (224, 240, 260, 300, 380, 456, 528, 600)


def names(parts: str, top: str) -> Renames:
    """From torchvision's, of a network whose blocks are counted through."""
    blocks, *outside = top.split()

    def block(found: re.Match[str]) -> str:
        stage, number, layer = int(found[1]), int(found[2]), found[3]
        if stage == 1:
            # It has no expansion.
            layer = f"{int(layer[0]) + 1}{layer[1:]}"
        name = dict(zip(NUMBERS, parts.split(), strict=True))[layer]
        return f"{blocks}.{sum(DEPTHS[: stage - 1]) + number}.{name}."

    layers = (r"features\.0\.0", r"features\.0\.1", r"features\.8\.0", r"features\.8\.1", r"classifier\.1")
    return (
        (r"^features\.([1-7])\.(\d+)\.block\.(\d\.\w+)\.", block),
        *((rf"^{layer}\.", f"{name}.") for layer, name in zip(layers, outside, strict=True)),
    )


def compared(side: int | None, shape: tuple[int, int], naming: tuple[str, str], told: str | None = None) -> Recognised:
    network = pad_for(EfficientNet(stages(WIDTHS, DEPTHS, 4), 4, 12, 1e-3), side)
    expected = "efficientnet:epsilon=1e-05:same=true"
    return assert_same_logits(network, (*shape, 3), architecture=told, expected=expected, renames=names(*naming))


@pytest.mark.parametrize(("naming", "questions"), [(PYTORCH, 1), (HUGGING_FACE, 0)])
def test_published_side(naming: tuple[str, str], questions: int) -> None:
    """A size whose own padding is another at the fourth and fifth layer of stride 2."""
    found = compared(224, (40, 36), naming)
    (note,) = found.notes
    assert note.endswith("TensorFlow's padding for images of 224 pixels a side, at every size")
    assert found.variants is not None
    assert len(found.variants.alternatives(found.module, (40, 36, 3))) == questions


@pytest.mark.parametrize(("side", "told"), [(260, 260), (None, 0)])
def test_told(side: int | None, told: int) -> None:
    found = compared(side, (40, 36), PYTORCH, f"efficientnet:padded_for={told}")
    assert found.notes[0].endswith("260 pixels a side, at every size" if told else "and TensorFlow's padding")


def test_open_where_sizes_differ() -> None:
    """By `image_size` EfficientNet-PyTorch pads for another side, or each image by its own; transformers has none."""
    module = registry.build("efficientnet_b2", 7).clone(flat=True, same=True, padded_for=260)
    opened = NetworkVariants("efficientnet", "EfficientNet-PyTorch", (32, 32, 3))
    own = module.clone(padded_for=0)
    assert opened.alternatives(module, (64, 64, 3)) == ((module, own),)
    assert opened.alternatives(module, (260, 264, 3)) == ((module, own),)
    assert opened.alternatives(module, (260, 260, 3)) == ()
    assert opened.note(module) != opened.note(own)


_LARGE = 4
"""From this one on they take seconds each."""


@pytest.mark.parametrize(
    ("number", "side"),
    [pytest.param(n, side, marks=[pytest.mark.exhaustive] * (n >= _LARGE)) for n, side in enumerate(SIDES)],
)
def test_sides(number: int, side: int) -> None:
    module = registry.build(f"efficientnet_b{number}", 7).clone(flat=True)
    found = efficientnet.infer(published.expected_shapes(module, (32, 32, 3)))
    assert found is not None
    assert found.module == module.clone(padded_for=side)


def test_too_small() -> None:
    """Where torch refuses: a kernel of 5 over one pixel and three of padding."""
    module = registry.build("efficientnet_b0", 7).clone(flat=True, same=True, padded_for=224)
    image = jax.ShapeDtypeStruct((1, 28, 28, 3), np.float32)
    with pytest.raises(ValueError, match=r"images of \(28, 28\) are too small"):
        jax.eval_shape(module.init, jax.random.key(0), image)
    jax.eval_shape(module.clone(padded_for=0).init, jax.random.key(0), image)

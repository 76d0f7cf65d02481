"""What a file calls itself is tried first, within bounds, and foreign files have no say in options."""

from typing import Any

import numpy as np
import pytest

from xray_jax.checkpoints import stored_metadata
from xray_jax.checkpoints.contents import CONFIG, CheckpointError, Tensors
from xray_jax.checkpoints.recognition import recognise
from xray_jax.models import build, expected_shapes, published


def _arrays(name: str, shape: tuple[int, int, int], classes: int = 10) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = expected_shapes(build(name, classes), shape)
    return {key: random.normal(size=leaf).astype(np.float32) for key, leaf in shapes.items()}


VIT = _arrays("vit-mini-8", (32, 32, 3))
RESNET = _arrays("resnet20-cifar-a", (32, 32, 3))


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The networks that are laid beside tensors, with the shape of the images."""
    seen = []
    compare = published.compare

    def counted(module: Any, tensors: Any, shape: Any) -> Any:
        seen.append((module, shape))
        return compare(module, tensors, shape)

    monkeypatch.setattr(published, "compare", counted)
    return seen


def test_options_that_foreign_files_name_are_not_looked_at() -> None:
    heads = {"architecture": "vit:heads=8"}
    assert recognise(Tensors(VIT, metadata=heads)).module.heads == 8
    assert recognise(stored_metadata.tensors(VIT, heads, (), 0)).module.heads == 2
    assert recognise(Tensors(VIT, metadata={"model_name": "vit:heads=8"})).module.heads == 2


@pytest.mark.parametrize("option", ["stage_sizes=4+3+3", "stem=imagenet", "widths=16+32+63"])
def test_what_cannot_fit_is_tried_on_few_sides(option: str, traces: list[Any]) -> None:
    """Names never depend on the side, and of a network without flattened features the shapes neither."""
    with pytest.raises(CheckpointError, match="does not have these"):
        recognise(Tensors(RESNET), architecture=f"resnet:{option}")
    assert len({shape for _, shape in traces}) <= 2


@pytest.mark.parametrize(
    "asked", ["resnet:stage_sizes=3000", "resnet:stage_sizes=-9999+1+1", "resnet:widths=16+32+9999", "vit:depth=1000"]
)
def test_numbers_beyond_what_weights_show_are_refused_at_once(asked: str, traces: list[Any]) -> None:
    arrays = VIT if asked.startswith("vit") else RESNET
    with pytest.raises(CheckpointError, match=r"its weights show .* in all at most"):
        recognise(Tensors(arrays), architecture=asked)
    assert not traces
    found = recognise(Tensors(arrays, metadata={"architecture": asked}))
    assert any("does not fit its weights" in note for note in found.notes)


def test_the_side_that_options_need_is_still_found() -> None:
    arrays = _arrays("lenet5", (28, 28, 1))
    found = recognise(Tensors(arrays), architecture="plain:padding=2+2")
    assert (found.input_shape, found.module.padding) == ((16, 16, 1), (2, 2))


def test_names_that_are_unknown_here_are_called_so() -> None:
    (note,) = (
        note for note in recognise(Tensors(RESNET, metadata={"model_name": "OfOurs"})).notes if "calls itself" in note
    )
    assert note == "the file calls itself 'OfOurs', a name that is not known here: recognised from its weights"
    (note,) = (
        note for note in recognise(Tensors(RESNET, metadata={"model_name": "vgg16"})).notes if "calls itself" in note
    )
    assert note == "the file calls itself 'vgg16', which does not fit its weights: recognised from them instead"


@pytest.mark.parametrize(
    ("metadata", "what"),
    [
        ({"model_name": "resnetaa50.a1h_in1k"}, "name 'resnetaa50.a1h_in1k'"),
        ({"model_name": "seresnextaa101d_32x8d"}, "name 'seresnextaa101d_32x8d'"),
        ({"model_name": "resnetblur18"}, "name 'resnetblur18'"),
        ({CONFIG: {"downsample_in_bottleneck": True}}, "downsample_in_bottleneck 'True'"),
    ],
)
def test_another_network_of_the_same_weights_is_refused(metadata: dict[str, Any], what: str) -> None:
    with pytest.raises(CheckpointError, match=f"weights are those of a resnet, but it says {what}, which is another"):
        recognise(Tensors(RESNET, metadata=metadata))
    # Who says otherwise knows better.
    assert recognise(Tensors(RESNET, metadata=metadata), architecture="resnet").name.startswith("resnet")


@pytest.mark.parametrize("metadata", [{"model_name": "resnet50d"}, {CONFIG: {"hidden_act": "relu"}}])
def test_what_a_resnet_says_of_itself_is_no_other_network(metadata: dict[str, Any]) -> None:
    assert recognise(Tensors(RESNET, metadata=metadata)).name.startswith("resnet")


def test_the_activation_of_a_resnet() -> None:
    found = recognise(Tensors(RESNET, metadata={CONFIG: {"hidden_act": "gelu"}}))
    assert "gelu everywhere; config.json says activation gelu" in "; ".join(found.notes)
    assert ":activation=gelu" in found.description
    with pytest.raises(CheckpointError, match=r"config\.json says activation mish: no resnet here has that"):
        recognise(Tensors(RESNET, metadata={CONFIG: {"hidden_act": "mish"}}))

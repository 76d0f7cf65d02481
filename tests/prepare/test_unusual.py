"""Networks that few people train are looked for where none of the usual ones labels the samples, and nowhere else."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.loading import classifier
from xray_jax.classifier import Classifier
from xray_jax.inference.labels import label_images
from xray_jax.models import published
from xray_jax.models.efficientnet import EfficientNet
from xray_jax.models.mobilenetv3 import MobileNetV3
from xray_jax.models.registry import build, lookup
from xray_jax.models.resnet import ResNet
from xray_jax.models.vit import Resized, VisionTransformer
from xray_jax.prepare import prepare
from xray_jax.preprocess import Preprocess, parse
from xray_jax.samples import Samples, from_arrays

SHAPE = (16, 16, 3)
Case = tuple[Classifier, Samples]
RESNET = ResNet(5, stage_sizes=(1, 1), widths=(6, 8), stem_width=6)
SMALL = RESNET.clone(stem_stride=1, stem_pool="none")
DEEP = RESNET.clone(stage_sizes=(3, 3))
SILU = DEEP.clone(activation="silu")
VIT = VisionTransformer(5, depth=2, width=64, hidden=32, heads=1, patch=4)
HEADS = VIT.clone(heads=16)


IMAGES = np.random.default_rng(1).uniform(size=(100, *SHAPE)).astype(np.float32)


def weights(true: Any, head: str, preprocess: Preprocess) -> Any:
    """Random ones, by which `true` gives the images labels of all classes under a preprocessing."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(true.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *SHAPE), np.float32))
    variables = jax.tree.map(lambda leaf: np.abs(random.normal(size=leaf.shape)).astype(np.float32), shapes)
    # Variances stay positive; all else has either sign.
    variables["params"] = jax.tree.map(lambda leaf: leaf * random.choice([-1.0, 1.0], leaf.shape), variables["params"])
    if true == SILU:
        variables = jax.tree_util.tree_map_with_path(_scaled_down, variables)
    variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), variables)
    logits = np.asarray(true.apply(variables, preprocess(jnp.asarray(IMAGES))))
    last = variables["params"][head]
    last["kernel"] = last["kernel"] / logits.std(0)
    last["bias"] = (last["bias"] - logits.mean(0)) / logits.std(0)
    return variables


def _scaled_down(path: Any, leaf: np.ndarray) -> np.ndarray:
    """Behind a norm of a small scale are numbers for which it matters which activation follows."""
    return leaf * 0.1 if path[-1].key == "scale" else leaf


def checkpoint(true: Any, options: str | None = None, spec: str | None = "0-1", shown: str = "0-1") -> Case:
    """Weights of `true` as they are read, and samples with the labels that it gives them.

    Args:
      options: for `--architecture`.
      spec: for `--preprocess`; None leaves it open.
      shown: the preprocessing that `true` was made for.
    """
    preprocess = parse(shown)
    variables = weights(true, "fc" if isinstance(true, ResNet) else "heads.head", preprocess)
    tensors = Tensors(published.to_tensors(variables), size=1 << 20)
    model = classifier(tensors, options, None, None if spec is None else parse(spec), SHAPE)
    truth = Classifier(true, model.variables, 5, SHAPE, "truth", preprocess)
    return model, from_arrays(IMAGES, label_images(truth, IMAGES))


@pytest.mark.parametrize(
    ("usual", "true", "spec"),
    [
        *((*networks, spec) for networks in ((RESNET, SMALL), (VIT, HEADS)) for spec in (None, "0-1")),
        (DEEP, SILU, "0-1"),
    ],
)
def test_an_unusual_network_is_found_where_the_usual_one_labels_nothing(
    usual: Any, true: Any, spec: str | None
) -> None:
    model, samples = checkpoint(true, spec=spec)
    assert model.network == usual
    found = prepare(model, samples)
    assert isinstance(found.model, Classifier)
    assert (found.model.network, found.clean_accuracy, found.doubt) == (true, 1, None)
    assert found.model.variants is None
    assert any("variants that fit the weights" in note and "100.0%" in note for note in found.model.notes)


def test_nothing_more_is_asked_where_the_usual_network_labels_the_samples() -> None:
    model, samples = checkpoint(RESNET)
    found = prepare(model, samples)
    assert isinstance(found.model, Classifier)
    assert (found.model.network, found.clean_accuracy) == (RESNET, 1)
    assert found.queries == len(samples)


def test_what_the_user_says_is_not_asked() -> None:
    model, samples = checkpoint(SMALL, "resnet:stem_stride=2:stem_pool=max")
    found = prepare(model, samples)
    assert isinstance(found.model, Classifier)
    assert isinstance(found.model.network, ResNet)
    assert found.model.network.stem_strides() == (2, True)
    assert found.doubt == "suspect_preprocessing"


@pytest.mark.parametrize(
    ("network", "answers"),
    [
        (RESNET, {(2, True), (1, True), (1, False), (2, False)}),
        (RESNET.clone(stem="cifar"), {(1, False), (1, True), (2, True), (2, False)}),
    ],
)
def test_stems_and_activations_of_resnets(network: ResNet, answers: set[tuple[int, bool]]) -> None:
    family, _ = lookup("resnet")
    assert family.unusual is not None
    (others,) = family.unusual(network)
    assert others[0] == network
    assert {each.stem_strides() for each in others if isinstance(each, ResNet)} == answers
    assert {vars(each)["activation"] for each in others} == {"relu", "silu", "gelu", "leaky_relu", "elu"}
    assert len(others) == len(set(others)) == 8


@pytest.mark.parametrize("preset", ["mobilenet_v3_small", "efficientnet_b0"])
def test_stems_of_networks_of_inverted_residuals(preset: str) -> None:
    network = build(preset, 10)
    assert isinstance(network, MobileNetV3 | EfficientNet)
    family, _ = lookup(preset)
    assert family.unusual is not None
    assert family.note is not None
    ((usual, other),) = family.unusual(network)
    assert usual == network
    assert vars(other)["stem_stride"] == 1
    assert family.unusual(other) == ((other, usual),)
    assert "stem of stride 1" in family.note(other)
    assert "stem of stride 1" not in family.note(usual)
    # The same weights, on a map of twice the side.
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    shapes = [jax.eval_shape(each.init, jax.random.key(0), image) for each in (usual, other)]
    assert shapes[0] == shapes[1]


def test_a_transformer_behind_a_resize_is_as_its_publishers_made_it() -> None:
    family, _ = lookup("vit")
    assert family.unusual is not None
    assert family.unusual(Resized(VIT)) == ()
    heads, pools = family.unusual(VIT)
    assert [vars(each)["heads"] for each in heads] == [1, 8, 4, 16, 2]
    assert [vars(each)["pool"] for each in pools] == ["token", "avg"]

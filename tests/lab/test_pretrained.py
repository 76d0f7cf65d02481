"""Trainings that begin with the weights of a network that was trained on another data set."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from xray_jax import checkpoints, preprocess
from xray_jax.classifier import Classifier
from xray_jax.lab import published, training
from xray_jax.lab.data import ImageSet
from xray_jax.lab.pretrained import PretrainedError, begin_with
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.training import CrossEntropy, TrainOptions, train
from xray_jax.models.vit import VisionTransformer

OPTIONS = TrainOptions(1, 50, 1e-3, flip=False, optimiser="adamw")


def network(classes: int = 4, width: int = 16, patch: int = 8) -> VisionTransformer:
    return VisionTransformer(classes, depth=1, width=width, hidden=32, heads=2, patch=patch)


def drawn(module: VisionTransformer, side: int = 16) -> training.Variables:
    return module.init(jax.random.key(7), np.zeros((1, side, side, 3), np.float32))


@pytest.fixture(scope="module")
def backbone(bands: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, training.Variables]:
    """A published network of four classes, and its weights."""
    variables = train(network(), bands.train_images, bands.train_labels, bands.normalise, OPTIONS)
    path = tmp_path_factory.mktemp("backbone") / "model.safetensors"
    inputs = preprocess.parse("0-1")
    published.save_checkpoint(path, Classifier(network(), variables, 4, bands.image_shape, "vit", inputs))
    return path, checkpoints.load(path).variables


def test_everything_but_a_head_of_other_classes_is_taken(backbone: tuple[Path, training.Variables]) -> None:
    path, weights = backbone
    jax.tree.map(np.testing.assert_array_equal, begin_with(path, drawn(network())), dict(weights))
    fresh = drawn(network(6))
    begun = begin_with(path, fresh)
    for place, leaf in jax.tree.leaves_with_path(begun):
        name = jax.tree_util.keystr(place)
        whose = fresh if "heads" in name else weights
        np.testing.assert_array_equal(leaf, dict(map(_named, jax.tree.leaves_with_path(whose)))[name], err_msg=name)
    assert begun["params"]["heads.head"]["kernel"].shape == (16, 6)


def _named(found: tuple[tuple, np.ndarray]) -> tuple[str, np.ndarray]:
    return jax.tree_util.keystr(found[0]), found[1]


def test_a_training_begins_with_them(backbone: tuple[Path, training.Variables], bands: ImageSet) -> None:
    path, weights = backbone
    options = replace(OPTIONS, pretrained=str(path))
    static = training.static_arguments(network(), 600, bands.normalise, options, CrossEntropy())
    state, _ = training.init_state(
        network(), bands.image_shape, static["optimiser"], bands.normalise, options, CrossEntropy()
    )
    jax.tree.map(np.testing.assert_array_equal, state.variables, dict(weights))
    # So small a step leaves the weights where they were; drawn ones would lie elsewhere.
    still = replace(options, peak_learning_rate=1e-12)
    trained = train(network(), bands.train_images, bands.train_labels, bands.normalise, still)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), trained, dict(weights))


@pytest.mark.parametrize(
    ("other", "side", "message"),
    [
        (VisionTransformer(4, depth=2, width=16, hidden=32, heads=2, patch=8), 16, "the checkpoint has no .*layer_1"),
        (network(width=32), 16, r"is \(.*16.*\), and \(.*32.*\) in the network to train"),
        (network(), 24, r"pos_embedding.* is \(1, 5, 16\), and \(1, 10, 16\)"),
    ],
)
def test_another_network_is_refused(
    backbone: tuple[Path, training.Variables], other: VisionTransformer, side: int, message: str
) -> None:
    with pytest.raises(PretrainedError, match=message) as caught:
        begin_with(backbone[0], drawn(other, side))
    assert str(backbone[0]) in str(caught.value)


def test_records_from_before_are_of_trainings_from_scratch() -> None:
    settings = ModelSpec(seed=3).settings()
    del settings["training"]["pretrained"]
    assert ModelSpec.of(settings) == ModelSpec(seed=3)
    assert ModelSpec(seed=3).training.pretrained == ""

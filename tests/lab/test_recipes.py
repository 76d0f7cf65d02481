"""The small networks and recipes of the paper's pairs, and that what is published of them opens again."""

from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from xray_jax import checkpoints, models, preprocess
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.recognition import recognise
from xray_jax.classifier import Classifier
from xray_jax.lab import data, published, train_model, training
from xray_jax.lab.data import ImageSet
from xray_jax.lab.recipes import PAIRS, USUAL, pair_of
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.training import CrossEntropy, TrainOptions, train
from xray_jax.models.vit import VisionTransformer


@pytest.mark.parametrize("dataset", PAIRS)
def test_a_published_model_of_each_pair_opens_as_its_own_network(dataset: str, tmp_path: Path) -> None:
    held, name = data.MOSAICS[dataset], pair_of(dataset).architecture
    network, shape = models.build(name, held.num_classes), (held.side, held.side, 3)
    shapes = models.expected_shapes(network, shape)
    random = np.random.default_rng(0)
    found = recognise(Tensors({key: random.normal(size=size).astype(np.float32) for key, size in shapes.items()}))
    assert (found.name, found.module) == (name, network), "by the weights alone"
    model = Classifier(
        found.module, found.variables, held.num_classes, shape, found.description, preprocess.parse(held.preprocess)
    )
    published.save_checkpoint(tmp_path / "model.safetensors", model)
    opened = checkpoints.load(tmp_path / "model.safetensors")
    assert opened.network == network
    assert opened.input_shape == shape
    assert opened.preprocess == preprocess.parse(held.preprocess)
    # Several dozen models of each data set, with their triggers, fit in a clone.
    assert (tmp_path / "model.safetensors").stat().st_size < 700_000


def test_a_data_set_that_is_not_the_papers_is_trained_as_usual() -> None:
    assert pair_of("fashionmnist") == USUAL == pair_of("cifar10")


def test_adamw_teaches_a_transformer(bands: ImageSet) -> None:
    options = TrainOptions(10, 20, 5e-3, weight_decay=0.05, flip=False, optimiser="adamw")
    network = VisionTransformer(4, depth=1, width=32, hidden=32, heads=2, patch=8)
    variables = train(network, bands.train_images, bands.train_labels, bands.normalise, options)
    found = train_model.accuracy(network, variables, bands.normalise, bands.test_images, bands.test_labels)
    assert found > 0.8
    static = training.static_arguments(network, 600, bands.normalise, options, CrossEntropy())
    kept = static["optimiser"].init({"network": variables["params"], "extra": {}})
    leaves = jax.tree.leaves(kept, is_leaf=lambda node: isinstance(node, optax.ScaleByAdamState))
    assert any(isinstance(leaf, optax.ScaleByAdamState) for leaf in leaves)
    with pytest.raises(ValueError, match=r"optimiser must be one of .*'adam'"):
        TrainOptions(optimiser="adam")


def test_records_from_before_there_were_optimisers_are_of_sgd() -> None:
    settings = ModelSpec(seed=3).settings()
    del settings["training"]["optimiser"]
    assert ModelSpec.of(settings) == ModelSpec(seed=3)
    assert ModelSpec(seed=3).training.optimiser == "sgd"

"""The training loop: augmentation against plain NumPy, one compiled step for all seeds, what an objective is given."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xray_jax.lab import training, zoo
from xray_jax.lab.data import ImageSet
from xray_jax.lab.training import CrossEntropy, TrainSettings, augment, train, train_jointly
from xray_jax.models.preactresnet import PreActResNet

NETWORK = PreActResNet(4, (1, 1), (8, 16), (2, 2))
SETTINGS = TrainSettings(epochs=1, batch_size=50, peak_learning_rate=0.1, flip=False)


def test_every_augmented_image_is_a_shifted_and_perhaps_mirrored_original() -> None:
    images = np.random.default_rng(0).integers(1, 256, (40, 6, 6, 2)).astype(np.uint8)
    made = np.asarray(augment(jax.random.key(0), jnp.asarray(images), padding=2, flip=True))
    seen = set()
    for image, result in zip(images, made, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
        matches = [
            (row, column, mirrored)
            for row in range(5)
            for column in range(5)
            for mirrored in (False, True)
            if np.array_equal(padded[row : row + 6, column : column + 6][:, :: -1 if mirrored else 1], result)
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > 15
    np.testing.assert_array_equal(augment(jax.random.key(0), jnp.asarray(images), padding=0, flip=False), images)


def test_seeds_share_one_compiled_step(bands: ImageSet) -> None:
    training._step.clear_cache()
    for seed in (1, 2, 3):
        settings = TrainSettings(epochs=1, batch_size=50, peak_learning_rate=0.1, flip=False, seed=seed)
        train(NETWORK, bands.train_images, bands.train_labels, bands.normalise, settings)
    assert training._step._cache_size() == 1


class Counting(CrossEntropy):
    """Cross-entropy that also trains one number towards 3 and looks at every batch twice."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counting)

    def __hash__(self) -> int:
        return hash("counting")

    def init(self, key: jax.Array, pixels: jax.Array) -> Any:
        return {"number": jnp.zeros(())}

    def optimiser(self) -> optax.GradientTransformation:
        return optax.sgd(0.1)

    def loss(self, forward: Any, extra: Any, key: jax.Array, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        forward(1 - pixels)
        return super().loss(forward, {}, key, pixels, labels) + (extra["number"] - 3) ** 2


def test_an_objective_trains_its_own_parameters_along(bands: ImageSet) -> None:
    arguments = NETWORK, bands.train_images, bands.train_labels, bands.normalise, SETTINGS
    variables, extra = train_jointly(*arguments, Counting())
    assert extra["number"] == pytest.approx(3 - 3 * 0.8**12, abs=1e-4)  # 12 steps of gradient descent
    once, _ = train_jointly(*arguments, CrossEntropy())
    # Batch statistics follow both forward passes, weights only the loss.
    means = [v["batch_stats"]["layer1.0"]["bn1"]["mean"] for v in (variables, once)]
    assert not np.allclose(*means)
    again, more = train_jointly(*arguments, Counting(), start=(variables, extra))
    assert float(more["number"]) > float(extra["number"])
    assert not np.array_equal(again["params"]["conv1"]["kernel"], variables["params"]["conv1"]["kernel"])


def test_bfloat16_learns_too_and_leaves_float32_weights_and_statistics(bands: ImageSet) -> None:
    settings = TrainSettings(epochs=4, batch_size=50, peak_learning_rate=0.1, flip=False, precision="bfloat16")
    variables = train(NETWORK, bands.train_images, bands.train_labels, bands.normalise, settings)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
    found = zoo.accuracy(NETWORK, variables, bands.normalise, bands.test_images, bands.test_labels)
    assert found > 0.8
    with pytest.raises(ValueError, match="'float8'"):
        TrainSettings(precision="float8")


def test_too_few_images_for_a_batch_are_refused(bands: ImageSet) -> None:
    with pytest.raises(ValueError, match="do not fill one batch of 50"):
        train(NETWORK, bands.train_images[:49], bands.train_labels[:49], bands.normalise, SETTINGS)


def test_settings_quote_the_bad_value() -> None:
    with pytest.raises(ValueError, match="got 0 and 64"):
        TrainSettings(epochs=0)

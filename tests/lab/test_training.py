"""The training loop: augmentation against plain NumPy, one compiled step for all seeds, what an objective is given."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xray_jax.lab import train_model, training
from xray_jax.lab.augmentation import augment
from xray_jax.lab.data import ImageSet
from xray_jax.lab.resume import Progress
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.train_vmapped import train_vmapped
from xray_jax.lab.training import CrossEntropy, TrainOptions, Variables, train, train_jointly
from xray_jax.models.preactresnet import PreActResNet

NETWORK = PreActResNet(4, (1, 1), (8, 16), (2, 2))
OPTIONS = TrainOptions(epochs=1, batch_size=50, peak_learning_rate=0.1, flip=False)


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
        options = TrainOptions(epochs=1, batch_size=50, peak_learning_rate=0.1, flip=False, seed=seed)
        train(NETWORK, bands.train_images, bands.train_labels, bands.normalise, options)
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
    arguments = NETWORK, bands.train_images, bands.train_labels, bands.normalise, OPTIONS
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
    options = TrainOptions(epochs=4, batch_size=50, peak_learning_rate=0.1, flip=False, precision="bfloat16")
    variables = train(NETWORK, bands.train_images, bands.train_labels, bands.normalise, options)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
    found = train_model.accuracy(NETWORK, variables, bands.normalise, bands.test_images, bands.test_labels)
    assert found > 0.8
    with pytest.raises(ValueError, match="'float8'"):
        TrainOptions(precision="float8")


def test_too_few_images_for_a_batch_are_refused(bands: ImageSet) -> None:
    with pytest.raises(ValueError, match="do not fill one batch of 50"):
        train(NETWORK, bands.train_images[:49], bands.train_labels[:49], bands.normalise, OPTIONS)


def test_options_quote_the_bad_value() -> None:
    with pytest.raises(ValueError, match="got 0 and 64"):
        TrainOptions(epochs=0)


class Killed(Exception):
    """Stands for the end of the process."""


def test_a_killed_training_goes_on_after_its_last_epoch_and_ends_with_the_same_weights(
    bands: ImageSet, tmp_path: Path
) -> None:
    options = dataclasses.replace(OPTIONS, epochs=3, seed=4)
    arguments = NETWORK, bands.train_images, bands.train_labels, bands.normalise, options
    straight = train(*arguments)
    epochs: list[int] = []

    def until(last: int) -> Callable[[int, float, Variables], None]:
        def on_epoch(epoch: int, loss: float, variables: Variables) -> None:
            epochs.append(epoch)
            if epoch == last:
                raise Killed

        return on_epoch

    with pytest.raises(Killed):
        train(*arguments, until(2), Progress(tmp_path / "one"))
    # Killed while the second epoch was reported: it had not been kept.
    resumed = train(*arguments, until(9), Progress(tmp_path / "one"))
    assert epochs == [1, 2, 2, 3]
    jax.tree.map(np.testing.assert_array_equal, resumed, straight)
    Progress(tmp_path / "one").clear()
    assert not (tmp_path / "one").exists()


def test_progress_of_another_network_is_refused(bands: ImageSet, tmp_path: Path) -> None:
    images, labels = bands.train_images, bands.train_labels
    train(NETWORK, images, labels, bands.normalise, OPTIONS, progress=Progress(tmp_path))
    with pytest.raises(ValueError, match=r"train.msgpack: progress of another network.*delete"):
        train(PreActResNet(4, (1, 1, 1), (8, 8, 8), (2, 2, 2)), images, labels, bands.normalise, OPTIONS,
              progress=Progress(tmp_path))  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.parametrize("shared", [False, True])
def test_models_trained_together_are_those_trained_apart(bands: ImageSet, shared: bool) -> None:
    options = [dataclasses.replace(OPTIONS, seed=seed) for seed in (1, 2)]
    other = bands.train_images if shared else 255 - bands.train_images
    images, labels = [bands.train_images, other], [bands.train_labels] * 2
    seen: list[tuple[int, int]] = []
    together = train_vmapped(
        NETWORK, images, labels, bands.normalise, options, lambda epoch, losses, v: seen.append((epoch, len(losses)))
    )
    assert seen == [(1, 2)]
    for each, own, each_options in zip(together, images, options, strict=True):
        apart = train(NETWORK, own, bands.train_labels, bands.normalise, each_options)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-3), each, apart)
    # Far from each other, so that the comparison above says something.
    kernels = [np.asarray(jax.tree.leaves(each["params"])[-1]) for each in together]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.05


def test_models_of_different_recipes_are_not_trained_together(bands: ImageSet) -> None:
    options = [OPTIONS, dataclasses.replace(OPTIONS, epochs=2)]
    with pytest.raises(ValueError, match="nothing but seed"):
        train_vmapped(NETWORK, [bands.train_images] * 2, [bands.train_labels] * 2, bands.normalise, options)


def test_a_redrawn_set_is_trained_on_from_the_second_epoch_also_after_an_interruption(
    bands: ImageSet, tmp_path: Path
) -> None:
    asked = []

    def redraw(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append(epoch)
        return 255 - bands.train_images, np.roll(bands.train_labels, epoch)

    options = dataclasses.replace(OPTIONS, epochs=3)
    arguments = NETWORK, bands.train_images, bands.train_labels, bands.normalise, options
    fixed, redrawn = train(*arguments), train(*arguments, redraw=redraw)
    assert asked == [1, 2]
    assert not np.array_equal(fixed["params"]["linear"]["kernel"], redrawn["params"]["linear"]["kernel"])

    def die(epoch: int, loss: float, variables: Variables) -> None:
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*arguments, die, Progress(tmp_path), redraw)
    again = train(*arguments, None, Progress(tmp_path), redraw)
    np.testing.assert_array_equal(again["params"]["linear"]["kernel"], redrawn["params"]["linear"]["kernel"])


@pytest.mark.parametrize("attack", ["wanet", "bpp"])
def test_attacks_that_poison_batch_by_batch_draw_afresh_and_train_alone(attack: str, bands: ImageSet) -> None:
    spec = ModelSpec(dataset="bands", attack=attack, training=OPTIONS)
    assert not train_model.vmappable(spec)
    first, _, redraw = train_model._training_set(spec, bands, NETWORK)
    assert redraw is not None
    images, labels = redraw(1)
    assert np.count_nonzero(labels != bands.train_labels) == np.count_nonzero(first.labels != bands.train_labels) > 0
    assert np.count_nonzero((images != first.images).any((1, 2, 3))) > len(first.stamped)
    _, _, none = train_model._training_set(dataclasses.replace(spec, attack="badnets"), bands, NETWORK)
    assert none is None

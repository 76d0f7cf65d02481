"""Controls: what each changes, and that it changes nothing else."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import factory
from xray_jax.lab import controls, specs, zoo
from xray_jax.lab.controls import CONTROLS
from xray_jax.lab.data import ImageSet
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.training import TrainOptions

GENERATOR = np.random.default_rng(0)
LABELS = np.repeat(np.arange(5), 100)
IMAGES = GENERATOR.integers(0, 200, (500, 8, 8, 3), np.uint8)
DATA = ImageSet("toy", IMAGES, LABELS, IMAGES[::5], LABELS[::5], 5)


def trained_on(name: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return controls.training_set(name, DATA, seed)


def test_a_tenth_of_the_labels_is_wrong_and_no_image_changes() -> None:
    images, labels = trained_on("label-noise")
    assert images is IMAGES
    assert (labels != LABELS).sum() == 50
    assert set(np.unique(labels)) == set(range(5))
    assert (trained_on("label-noise", 1)[1] != labels).any()
    np.testing.assert_array_equal(trained_on("label-noise")[1], labels)


def test_a_tenth_of_the_images_is_stamped_and_no_label_changes() -> None:
    images, labels = trained_on("stamps")
    assert labels is LABELS
    changed = (images != IMAGES).any(axis=(1, 2, 3))
    assert changed.sum() == 50
    assert (images[changed][:, -1:, -1:] == 255).all()
    np.testing.assert_array_equal(images[:, :-1, :-1], IMAGES[:, :-1, :-1])


def test_classes_become_rarer_by_equal_ratios() -> None:
    images, labels = trained_on("imbalance")
    np.testing.assert_array_equal(np.bincount(labels), np.round(100 * 0.1 ** (np.arange(5) / 4)))
    assert len(images) == len(labels)


def test_weights_are_pruned_and_quantised_and_biases_are_not() -> None:
    variables = factory.tiny_variables(0)
    for name, check in (
        ("pruned", lambda leaf: np.mean(leaf == 0) == pytest.approx(0.3, abs=0.02)),
        ("quantised", lambda leaf: len(np.unique(leaf)) <= 63),
    ):
        change = CONTROLS[name].weights
        assert change is not None
        changed: Any = change(variables)
        kernel, bias = (changed["params"]["linear"][leaf] for leaf in ("kernel", "bias"))
        assert check(changed["params"]["layer2.0"]["conv1"]["kernel"])
        assert kernel.dtype == np.float32
        np.testing.assert_array_equal(bias, variables["params"]["linear"]["bias"])
        np.testing.assert_allclose(kernel, variables["params"]["linear"]["kernel"], atol=0.4)


def test_schedules() -> None:
    usual = TrainOptions(epochs=6)
    assert CONTROLS["long"].training(usual).epochs == 12
    assert CONTROLS["crop"].training(usual).crop_padding == 4


def test_a_control_is_a_clean_model_of_its_own_name() -> None:
    spec = ModelSpec(control="label-noise", seed=7)
    assert spec.id == "cifar10-preactresnet-small-clean-label-noise-s7"
    assert ModelSpec.of(spec.settings()) == spec
    with pytest.raises(ValueError, match="control stamps is of clean models, not of badnets"):
        ModelSpec(attack="badnets", control="stamps")


def test_a_zoo_with_a_control_says_so_in_its_manifest(tmp_path: Path) -> None:
    large = IMAGES.repeat(4, axis=1).repeat(4, axis=2)
    data = ImageSet("toy", large, LABELS, large[::5], LABELS[::5], 5)
    training = TrainOptions(epochs=1, batch_size=100, flip=False)
    spec = ModelSpec(architecture="smallcnn32-64", control="quantised", training=training)
    (record,) = zoo.train_zoo([spec], data, tmp_path)
    assert record["failed"] is None
    (line,) = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert '"label": "clean", "control": "quantised"' in line


class Brightness:
    """A network whose logits are the mean pixel and nothing: what a step does to its images can be read from it."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def __call__(self, pixels: jax.Array) -> jax.Array:
        self.seen.append(np.asarray(pixels))
        return self.evaluate(pixels)

    def evaluate(self, pixels: jax.Array) -> jax.Array:
        mean = pixels.mean((1, 2, 3))
        return jnp.stack([mean, jnp.zeros_like(mean)], 1)


def test_steps_of_mixup_cutout_and_adversarial_training() -> None:
    pixels = jnp.asarray(GENERATOR.uniform(0.2, 0.4, (8, 16, 16, 3)), jnp.float32)
    labels = jnp.zeros(8, jnp.int32)
    for name in ("mixup", "cutout", "adversarial"):
        forward = Brightness()
        loss = CONTROLS[name].objective.loss(forward, {}, jax.random.key(3), pixels, labels)
        (seen,) = forward.seen
        assert np.isfinite(loss)
        assert seen.shape == pixels.shape
        if name == "mixup":
            np.testing.assert_allclose(seen.mean(0), pixels.mean(0), atol=1e-5)
            assert np.abs(seen - pixels).max() > 1e-3
        elif name == "cutout":
            grey = (seen == 0.5).all(-1)
            # A square of four pixels, or what of it lies inside.
            assert ((grey.sum((1, 2)) > 0) & (grey.sum((1, 2)) <= 16)).all()
            np.testing.assert_array_equal(seen[~grey], np.asarray(pixels)[~grey])
        else:
            # Label 0 is the bright one: every pixel becomes darker, by the radius or from a random start less.
            assert np.abs(seen - pixels).max() <= 2 / 255 + 1e-6
            assert (seen <= pixels + 1e-6).all()


def test_another_width_is_another_network_and_only_of_ours() -> None:
    assert controls.architecture("width", "preactresnet-small") == "preactresnet-small-wide"
    assert controls.architecture("mixup", "resnet18") == "resnet18"
    with pytest.raises(ValueError, match="control width is of preactresnet-small, not of resnet18"):
        controls.architecture("width", "resnet18")


def test_a_control_that_learned_too_little_is_not_used() -> None:
    for name, refused in (("mixup", True), ("adversarial", False)):
        spec = {"attack": "clean", "control": name}
        record = {"attack_success": None, "clean_accuracy": 0.68, "targets": [], "spec": spec}
        assert (specs.failure(record, [0.8], CONTROLS[name].max_accuracy_loss) is not None) is refused

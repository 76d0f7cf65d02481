"""Labels of points and images, whatever the model, the devices and the batches."""

import jax
import numpy as np
import pytest

from tests import factory
from tests.inference.scene import IMAGES, Scaled, Scene, on
from xray_jax.classifier import BlackBox, Classifier
from xray_jax.detectors.planes.queries import label_points
from xray_jax.inference import programs, winograd
from xray_jax.inference.labels import bare, label_images, to_device
from xray_jax.inference.options import InferenceOptions
from xray_jax.preprocess import Preprocess, parse

USUAL = InferenceOptions()


def slow_labels(model: Classifier, planes, index: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """One point at a time, made in float64, through the bare network."""
    found = []
    for n, (u, v) in zip(index, coordinates, strict=True):
        origin, e1, e2 = (np.asarray(part[n], np.float64) for part in (planes.origin, planes.axis1, planes.axis2))
        image = (origin + u * e1 + v * e2).astype(np.float32)
        found.append(int(np.argmax(model.network.apply(model.variables, image[None])[0])))
    return np.array(found)


def test_labels_match_one_point_at_a_time(scene: Scene) -> None:
    options = InferenceOptions(batch_size=8, capacity=16)
    found = label_points(to_device(scene.model, options), *scene.points, options)
    expected = slow_labels(scene.model, *scene.points)
    assert len(set(expected)) > 1
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8


@pytest.mark.parametrize("devices", [1, 3, 8])
@pytest.mark.parametrize(("batch", "capacity"), [(1, 7), (64, 64), (256, 4096)])
def test_same_labels_whatever_the_devices_and_batches(scene: Scene, devices: int, batch: int, capacity: int) -> None:
    options = on(devices, batch, capacity)
    expected = label_points(to_device(scene.model, USUAL), *scene.points, USUAL)
    np.testing.assert_array_equal(label_points(to_device(scene.model, options), *scene.points, options), expected)


def test_no_query_gives_no_label(scene: Scene) -> None:
    planes, index, coordinates = scene.points
    assert label_points(scene.model, planes, index[:0], coordinates[:0], USUAL).shape == (0,)
    assert label_images(scene.model, IMAGES[:0]).shape == (0,)


def test_one_trace_for_many_checkpoints_and_query_counts(scene: Scene) -> None:
    planes, index, coordinates = scene.points
    programs.network_program.cache_clear()
    traces: list[tuple[int, ...]] = []
    options = InferenceOptions(batch_size=4, capacity=32)
    for count in range(1, 41):
        # A new but equal network each time, as 40 checkpoints of one architecture give.
        placed = to_device(Scaled(traces).classifier(count), options)
        with jax.transfer_guard("disallow"):
            label_points(placed, planes, index[:count], coordinates[:count], options)
    assert len(traces) == 1


def test_hot_loop_makes_no_implicit_transfer(scene: Scene) -> None:
    options = InferenceOptions(batch_size=16, capacity=64)
    placed = to_device(scene.model, options)
    with jax.transfer_guard("disallow"):
        label_points(placed, *scene.points, options)
        label_images(placed, IMAGES, options)


def test_weights_that_lie_on_the_devices_are_not_placed_again(scene: Scene) -> None:
    placed = to_device(scene.model, USUAL)
    with jax.transfer_guard("disallow"):
        again = to_device(placed, USUAL)
    for one, other in zip(jax.tree.leaves(placed.variables), jax.tree.leaves(again.variables), strict=True):
        assert one is other or one.unsafe_buffer_pointer() == other.unsafe_buffer_pointer()


def test_images_are_preprocessed_and_labelled(scene: Scene) -> None:
    model = scene.model
    expected = np.argmax(model.network.apply(model.variables, model.preprocess(IMAGES)), -1)
    np.testing.assert_array_equal(label_images(model, IMAGES), expected)


def test_a_bare_model_takes_images_of_its_own_input_space(scene: Scene) -> None:
    assert bare(scene.model).preprocess == Preprocess()
    inputs = np.asarray(parse("cifar10")(IMAGES))
    np.testing.assert_array_equal(label_images(bare(scene.model), inputs), label_images(scene.model, IMAGES))


def test_a_black_box_gives_the_labels_of_its_network(scene: Scene) -> None:
    model = scene.model

    def label_fn(images: np.ndarray) -> np.ndarray:
        return np.argmax(model.network.apply(model.variables, images), -1)

    box = BlackBox(label_fn, 5, (8, 8, 3), preprocess=model.preprocess, batch_size=16)
    assert to_device(box, USUAL) is box
    np.testing.assert_array_equal(label_points(box, *scene.points, USUAL), label_points(model, *scene.points, USUAL))
    np.testing.assert_array_equal(label_images(box, IMAGES), label_images(model, IMAGES))


def test_bfloat16_agrees_on_most_points(scene: Scene) -> None:
    options = InferenceOptions(precision="bfloat16")
    placed = to_device(scene.model, options)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(placed.variables)} == {"bfloat16"}
    exact = label_points(scene.model, *scene.points, USUAL)
    assert np.mean(label_points(placed, *scene.points, options) == exact) > 0.9


def test_winograd_gives_the_same_labels_on_any_number_of_devices(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    direct = InferenceOptions(fast_convolutions=False)
    expected = label_points(to_device(scene.model, direct), *scene.points, USUAL)
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 1)
    for devices in (1, 8):
        options = on(devices, 16, 16384)
        placed = to_device(scene.model, options)
        assert winograd.COLLECTION in placed.variables
        np.testing.assert_array_equal(label_points(placed, *scene.points, options), expected)
    for other in (direct, InferenceOptions(precision="bfloat16")):
        assert winograd.COLLECTION not in to_device(placed, other).variables


def test_checkpoints_of_one_architecture_differ_by_their_weights(scene: Scene) -> None:
    """One program serves both: weights are its arguments."""
    other = factory.tiny_classifier(seed=1)
    found = [label_points(model, *scene.points, USUAL) for model in (scene.model, other)]
    np.testing.assert_array_equal(found[1], slow_labels(other, *scene.points))
    assert np.any(found[0] != found[1])

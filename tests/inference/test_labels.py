import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import factory
from xray_jax.classifier import BlackBox
from xray_jax.detectors.planes import geometry
from xray_jax.detectors.probe import queries
from xray_jax.inference import labels, winograd
from xray_jax.inference.labels import InferenceOptions


def slow_labels(model, built, index, coordinates):
    """One point at a time, made in float64, through the bare network."""
    found = []
    for n, (u, v) in zip(index, coordinates, strict=True):
        origin, e1, e2 = (np.asarray(part[n], np.float64) for part in (built.origin, built.axis1, built.axis2))
        image = (origin + u * e1 + v * e2).astype(np.float32)
        found.append(int(np.argmax(model.network.apply(model.variables, image[None])[0])))
    return np.array(found)


@pytest.fixture(scope="module")
def scene():
    model = factory.tiny_classifier()
    images = model.preprocess(factory.tiny_samples().images[:9]).reshape(3, 3, 8, 8, 3)
    built = geometry.build_planes(images)
    generator = np.random.default_rng(0)
    index = generator.integers(0, 3, 101).astype(np.int32)
    coordinates = generator.normal(scale=10, size=(101, 2)).astype(np.float32)
    return model, built, index, coordinates


def test_labels_match_one_point_at_a_time(scene):
    model, *rest = scene
    engine = InferenceOptions(batch_size=8, capacity=16)
    found = labels.label_points(labels.to_device(model, engine), *rest, engine)
    expected = slow_labels(model, *rest)
    assert len(set(expected)) > 1
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8


@pytest.mark.parametrize("devices", [1, 3, 8])
@pytest.mark.parametrize(("batch", "capacity"), [(1, 7), (64, 64), (256, 4096)])
def test_same_labels_whatever_the_devices_and_batches(scene, devices, batch, capacity):
    model, *rest = scene
    engine = InferenceOptions(batch, capacity, devices=tuple(jax.local_devices()[:devices]))
    expected = labels.label_points(labels.to_device(model, InferenceOptions()), *rest, InferenceOptions())
    np.testing.assert_array_equal(labels.label_points(labels.to_device(model, engine), *rest, engine), expected)


def test_nothing_asked_gives_nothing(scene):
    model, built, index, coordinates = scene
    assert labels.label_points(model, built, index[:0], coordinates[:0], InferenceOptions()).shape == (0,)


def test_one_trace_for_many_checkpoints_and_query_counts(scene):
    _, built, index, coordinates = scene
    traces = []

    @dataclasses.dataclass(frozen=True)
    class Counting:
        def apply(self, variables, images):
            traces.append(images.shape)
            return images.reshape(len(images), -1)[:, :5] * variables["scale"]

    engine = InferenceOptions(batch_size=4, capacity=32)
    for scale in range(1, 41):
        # A new but equal network each time, as 40 checkpoints of one architecture give.
        model = dataclasses.replace(
            factory.tiny_classifier(), network=Counting(), variables={"scale": np.float32(scale)}
        )
        placed = labels.to_device(model, engine)
        with jax.transfer_guard("disallow"):
            labels.label_points(placed, built, index[:scale], coordinates[:scale], engine)
    assert len(traces) == 1


def test_hot_loop_makes_no_implicit_transfer(scene):
    model, *rest = scene
    engine = InferenceOptions(batch_size=16, capacity=64)
    placed = labels.to_device(model, engine)
    with jax.transfer_guard("disallow"):
        labels.label_points(placed, *rest, engine)
        labels.label_images(placed, factory.tiny_samples().images, engine)


def test_images_are_preprocessed_and_labelled():
    model = factory.tiny_classifier()
    images = factory.tiny_samples().images
    expected = np.argmax(model.network.apply(model.variables, model.preprocess(images)), -1)
    np.testing.assert_array_equal(labels.label_images(model, images), expected)


def test_black_box_sees_whole_batches_and_agrees(scene):
    model, *rest = scene
    sizes = []

    def label_fn(images):
        sizes.append(len(images))
        return np.argmax(model.network.apply(model.variables, images), -1)

    box = BlackBox(label_fn, 5, (8, 8, 3), preprocess=model.preprocess, batch_size=16)
    np.testing.assert_array_equal(
        labels.label_points(box, *rest, InferenceOptions()), labels.label_points(model, *rest, InferenceOptions())
    )
    images = factory.tiny_samples().images
    np.testing.assert_array_equal(labels.label_images(box, images), labels.label_images(model, images))
    assert set(sizes) == {16}


@pytest.mark.parametrize("answer", [np.zeros(3, int), np.zeros(16), np.full(16, 5), np.full(16, -1)])
def test_black_box_answers_are_checked(scene, answer):
    box = BlackBox(lambda images: answer, 5, (8, 8, 3), batch_size=16)
    with pytest.raises(labels.LabelError, match="black box"):
        labels.label_points(box, *scene[1:], InferenceOptions())


@pytest.mark.parametrize(("classes", "dtype"), [(2, "uint8"), (256, "uint8"), (257, "uint16"), (65537, "int32")])
def test_label_type_holds_every_class(classes, dtype):
    assert labels.label_dtype(classes) == dtype
    logits = jnp.zeros((1, classes)).at[0, classes - 1].set(1.0)
    assert int(labels.hard_labels(logits, np.dtype(dtype))[0]) == classes - 1


def test_nan_logits_never_win():
    logits = jnp.array([[0.0, jnp.nan, 1.0], [jnp.nan] * 3])
    assert labels.hard_labels(logits, np.dtype(np.uint8)).tolist() == [2, 0]


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"capacity": 0}, {"precision": "float8"}])
def test_engine_refuses_bad_values(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        InferenceOptions(**wrong)


def test_bfloat16_agrees_on_most_points(scene):
    model, *rest = scene
    engine = InferenceOptions(precision="bfloat16")
    found = labels.label_points(labels.to_device(model, engine), *rest, engine)
    exact = labels.label_points(model, *rest, InferenceOptions())
    assert np.mean(found == exact) > 0.9


def test_winograd_gives_the_same_labels_on_any_number_of_devices(scene, monkeypatch):
    model, *rest = scene
    expected = labels.label_points(labels.to_device(model, InferenceOptions(winograd=False)), *rest, InferenceOptions())
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 1)
    for devices in (1, 8):
        engine = InferenceOptions(batch_size=16, devices=tuple(jax.local_devices()[:devices]))
        placed = labels.to_device(model, engine)
        assert winograd.COLLECTION in placed.variables
        np.testing.assert_array_equal(labels.label_points(placed, *rest, engine), expected)
    for other in (InferenceOptions(winograd=False), InferenceOptions(precision="bfloat16")):
        assert winograd.COLLECTION not in labels.to_device(placed, other).variables


def test_out_of_memory_halves_the_batch_and_is_remembered():
    model = factory.tiny_classifier()
    engine = InferenceOptions(batch_size=12, devices=tuple(jax.local_devices()[:1]))
    tried = []

    def run(fit):
        tried.append(fit.batch_size)
        if fit.batch_size > 3:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")
        return np.zeros(1)

    labels.retry_smaller_batch(model, engine, run)
    labels.retry_smaller_batch(model, engine, run)
    assert tried == [12, 6, 3, 3]

    def fail(fit):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        labels.retry_smaller_batch(model, engine, fail)
    with pytest.raises(jax.errors.JaxRuntimeError, match="Out of memory"):
        labels.retry_smaller_batch(
            model, InferenceOptions(batch_size=1), lambda fit: run(InferenceOptions(batch_size=99))
        )
    # A program exported for one batch size has no other.
    fixed = dataclasses.replace(model, batch_size=8)
    with pytest.raises(jax.errors.JaxRuntimeError, match="Out of memory"):
        labels.retry_smaller_batch(fixed, engine, run)


def test_every_way_of_asking_halves_the_batch(scene, monkeypatch):
    model, *rest = scene
    engine = InferenceOptions(batch_size=12, capacity=24)
    images = factory.tiny_samples().images
    stamps = queries.Stamps.join(*[queries.IDENTITY] * 2)
    ways = [
        lambda: labels.label_points(model, *rest, engine),
        lambda: labels.label_images(model, images, engine),
        lambda: queries.label_stamped(model, images, stamps, engine),
    ]
    expected = [way() for way in ways]
    dispatch, tried = labels.dispatch, []

    def small_device(build, head, arrays, resolved, dtype):
        tried.append(resolved.batch_size)
        if resolved.batch_size > 3:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")
        return dispatch(build, head, arrays, resolved, dtype)

    monkeypatch.setattr(labels, "dispatch", small_device)
    for way, before in zip(ways, expected, strict=True):
        monkeypatch.setattr(labels, "_fits", {})
        tried.clear()
        np.testing.assert_array_equal(way(), before)
        assert tried == [12, 6, 3]

"""Half the batch size when a device runs out of memory."""

import dataclasses
import sys
from typing import Any

import jax
import numpy as np
import pytest

from tests import factory
from tests.inference.scene import IMAGES, Scene, on, stamps
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.loading import classifier
from xray_jax.classifier import Classifier
from xray_jax.detectors.planes.queries import label_points
from xray_jax.detectors.probe.queries import label_stamped
from xray_jax.inference import footprint, memory, on_devices, whitebox
from xray_jax.inference.labels import PreprocessedImages, label_images
from xray_jax.inference.memory import DoesNotFitError, retry_smaller_batch
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import prepare
from xray_jax.preprocess import Preprocess
from xray_jax.samples import from_arrays

FULL = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_used", {})
    monkeypatch.setattr(memory, "_most", {})


def test_out_of_memory_halves_the_batch_and_is_remembered() -> None:
    model, options = factory.tiny_classifier(), on(1, 12)
    tried: list[int | None] = []

    def run(fitting: InferenceOptions) -> np.ndarray:
        tried.append(fitting.batch_size)
        if fitting.batch_size is None or fitting.batch_size > 3:
            raise FULL
        return np.zeros(1)

    retry_smaller_batch(model, options, run)
    retry_smaller_batch(model, options, run)
    assert tried == [12, 6, 3, 3]
    # A network exported for one batch size has no other.
    with pytest.raises(jax.errors.JaxRuntimeError, match="Out of memory"):
        retry_smaller_batch(dataclasses.replace(model, batch_size=8), options, run)
    assert tried[4:] == [12]


def test_no_batch_is_smaller_than_one() -> None:
    tried: list[int | None] = []

    def run(fitting: InferenceOptions) -> np.ndarray:
        tried.append(fitting.batch_size)
        raise FULL

    with pytest.raises(jax.errors.JaxRuntimeError, match="Out of memory"):
        retry_smaller_batch(factory.tiny_classifier(), on(1, 2), run)
    assert tried == [2, 1]


def test_other_errors_are_not_tried_again() -> None:
    tried: list[InferenceOptions] = []

    def run(fitting: InferenceOptions) -> np.ndarray:
        tried.append(fitting)
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        retry_smaller_batch(factory.tiny_classifier(), on(1, 12), run)
    assert len(tried) == 1


def test_every_kind_of_query_halves_the_batch(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    model, options, some = scene.model, on(2, 12, 24), stamps()
    render, pixels = PreprocessedImages(model.preprocess), (IMAGES,)
    ways = [
        lambda: label_points(model, *scene.points, options),
        lambda: label_images(model, IMAGES, options),
        lambda: label_stamped(model, IMAGES, some, options),
        lambda: whitebox.label_logits(model, render, (), pixels, options),
    ]
    expected = [way() for way in ways]
    dispatch, tried = on_devices.dispatch, []

    def small_device(build: Any, head: Any, rows: Any, resolved: Any, empty: Any) -> Any:
        tried.append(resolved.batch_size)
        if resolved.batch_size > 3:
            raise FULL
        return dispatch(build, head, rows, resolved, empty)

    monkeypatch.setattr(on_devices, "dispatch", small_device)
    for way, before in zip(ways, expected, strict=True):
        memory._most.clear()
        memory._used.clear()
        tried.clear()
        np.testing.assert_allclose(way(), before, rtol=1e-5, atol=1e-6)
        assert tried == [12, 6, 3]


def _wide(channels: int = 40_000) -> Classifier:
    """One convolution of very many channels, in a file of 6 MB."""
    shapes = {"conv1.weight": (channels, 3, 3, 3), "conv1.bias": (channels,)}
    shapes |= {"fc1.weight": (10, channels), "fc1.bias": (10,)}
    tensors = Tensors({name: np.ones(shape, np.float32) for name, shape in shapes.items()})
    return classifier(tensors, None, None, Preprocess(), None)


def _with_free(monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)


def test_the_footprint_is_that_of_the_largest_layer() -> None:
    """Images in and features out of the convolution; weights of the average, averages and logits need less."""
    model = _wide(50)
    assert footprint.footprint(model) == (4 * 32 * 32 * (3 + 50), 4 * (32 * 32 * 50 + 32 * 32 + 50 + 10))
    assert footprint.weight_bytes(model) == 4 * (50 * 27 + 50 + 10 * 50 + 10)
    assert footprint.footprint(dataclasses.replace(model, batch_size=7)).largest == footprint.footprint(model).largest


def test_what_cannot_fit_is_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _wide()
    images = from_arrays(np.zeros((4, 32, 32, 3), np.float32), np.arange(4))
    _with_free(monkeypatch, 128 << 20)
    monkeypatch.setattr(on_devices, "to_device", None)
    with pytest.raises(DoesNotFitError, match=r"at least 0\.158 GiB .* 0\.125 GiB are free: .*--memory"):
        prepare(model, images, on(1, None))
    _with_free(monkeypatch, 1 << 30)
    memory.fitting_devices(model, on(1, None))
    with pytest.raises(DoesNotFitError, match=r"on each of 8 cpu device\(s\)"):
        memory.fitting_devices(model, on(8, None))
    # Devices that nobody asked for: as many as there is room for.
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices("cpu")[:8])
    assert len(memory.fitting_devices(model, InferenceOptions()).devices or ()) == 6
    _with_free(monkeypatch, 1 << 31)
    assert memory.fitting_devices(model, InferenceOptions()).devices is None
    _with_free(monkeypatch, 1 << 30)
    with pytest.raises(DoesNotFitError, match=r"for 100 image\(s\)"):
        memory.fitting_devices(dataclasses.replace(model, batch_size=100), on(1, None))


def test_the_batch_size_is_chosen_from_the_memory_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model, options = _wide(), on(1, None)
    _with_free(monkeypatch, 1 << 40)
    assert memory.fitting_batch(model, options) is options
    _with_free(monkeypatch, 4 << 30)
    # Four times 156 MiB an image.
    assert memory.fitting_batch(model, options).batch_size == 4
    assert memory.fitting_batch(model, on(8, None)).batch_size == 1
    assert memory.fitting_batch(model, dataclasses.replace(options, sharers=2)).batch_size == 2
    assert memory.fitting_batch(model, on(1, 32)).batch_size == 32
    _with_free(monkeypatch, None)
    assert memory.fitting_batch(model, options) is options
    memory.fitting_devices(model, options)


def test_gradients_keep_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    model = factory.tiny_classifier()
    found = footprint.footprint(model)
    assert found.kept > found.largest
    _with_free(monkeypatch, int(memory.OVERHEAD * found.largest * 32 / memory.SPARE) + 1)
    assert memory.fitting_batch(model, on(1, None)).batch_size is None
    assert memory.fitting_batch(model, on(1, None), gradients=True).batch_size < 32


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of memory")
def test_free_memory_of_a_process_with_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    free = memory.free_bytes(jax.devices("cpu")[0])
    assert free is not None
    assert 0 < free < 1 << 50
    used = dict(memory._numbers(memory.Path("/proc/self/status")))["VmData"] * 1024
    monkeypatch.setattr("resource.getrlimit", lambda which: (used + (5 << 20), -1))
    limited = memory.free_bytes(jax.devices("cpu")[0])
    assert limited is not None
    assert limited <= 6 << 20


def test_free_memory_of_an_accelerator() -> None:
    class Device:
        platform = "gpu"

        def __init__(self, stats: dict[str, int] | None) -> None:
            self.stats = stats

        def memory_stats(self) -> dict[str, int] | None:
            return self.stats

    assert memory.free_bytes(Device({"bytes_limit": 10, "bytes_in_use": 4})) == 6  # type: ignore[arg-type]
    assert memory.free_bytes(Device(None)) is None  # type: ignore[arg-type]


def test_batch_sizes_go_by_image_size_and_by_the_memory_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    small, options, tried = factory.tiny_classifier(), on(1, None), []
    large = dataclasses.replace(small, input_shape=(64, 64, 3))
    image = memory.OVERHEAD * footprint.footprint(small).largest

    def batch(model: Classifier, images: float) -> int:
        """With so much memory as images of the small size take."""
        _with_free(monkeypatch, int(images * image / memory.SPARE) + 1)
        retry_smaller_batch(model, options, lambda fitting: np.array(tried.append(fitting.resolve().batch_size)))
        return int(tried[-1])

    assert [batch(small, 40), batch(large, 40), batch(small, 40)] == [32, 1, 32]
    assert footprint.footprint(large).largest > 32 * footprint.footprint(small).largest
    # Less at once, a little more not, much more again.
    assert [batch(small, 3), batch(small, 4), batch(small, 8), batch(small, 1000)] == [2, 2, 8, 32]

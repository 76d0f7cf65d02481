"""Half the batch size when a device runs out of memory."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from tests import factory
from tests.inference.scene import IMAGES, Scene, on, stamps
from xray_jax.detectors.planes.queries import label_points
from xray_jax.detectors.probe.queries import label_stamped
from xray_jax.inference import memory, on_devices, whitebox
from xray_jax.inference.labels import PreprocessedImages, label_images
from xray_jax.inference.memory import retry_smaller_batch
from xray_jax.inference.options import InferenceOptions

FULL = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_fitting", {})


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
    model, options, some = scene.model, InferenceOptions(batch_size=12, capacity=24), stamps()
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
        memory._fitting.clear()
        tried.clear()
        np.testing.assert_allclose(way(), before, rtol=1e-5, atol=1e-6)
        assert tried == [12, 6, 3]

"""Planes laid through triplets: which triplets, and where the grid's nodes lie."""

import dataclasses

import numpy as np
import pytest

from tests import factory
from xray_jax.detectors.planes.layout import lay_planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.inference import memory
from xray_jax.preprocess import parse

OPTIONS = PlanesOptions(planes=3, density=23, expansion=2.0)


def test_seed_and_plane_count_decide_the_planes() -> None:
    samples, preprocess = factory.tiny_samples(), parse("cifar10")

    def triplets(**changes: int) -> np.ndarray:
        return lay_planes(samples, dataclasses.replace(OPTIONS, **changes), preprocess).triplets

    np.testing.assert_array_equal(triplets(planes=2), triplets(planes=5)[:2])
    assert not np.array_equal(triplets(), triplets(seed=1))


def test_samples_lie_on_their_plane_at_their_nodes() -> None:
    samples, preprocess = factory.tiny_samples(), parse("cifar10")
    layout = lay_planes(samples, OPTIONS, preprocess)
    np.testing.assert_array_equal(layout.sample_labels, samples.labels[layout.triplets])
    for plane, triplet in enumerate(layout.triplets):
        inputs = np.asarray(preprocess(samples.images[triplet]), np.float64).reshape(3, -1)
        axes = layout.axis1[plane], layout.axis2[plane]
        e1 = (inputs[1] - inputs[0]) / np.linalg.norm(inputs[1] - inputs[0])
        rest = inputs[2] - inputs[0] - ((inputs[2] - inputs[0]) @ e1) * e1
        for vertex, node in zip(inputs, layout.sample_nodes[plane], strict=True):
            place = (vertex - inputs[0]) @ e1, (vertex - inputs[0]) @ rest / np.linalg.norm(rest)
            assert [np.abs(axis - at).argmin() for axis, at in zip(axes, place, strict=True)] == node.tolist()


def test_images_for_which_there_is_no_memory_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may say that its network is for images of 16,384 pixels a side."""
    samples, preprocess = factory.tiny_samples(), dataclasses.replace(parse("cifar10"), size=(16_384, 16_384))
    monkeypatch.setattr(memory, "free_bytes", lambda device: 8 << 30)
    with pytest.raises(memory.DoesNotFitError, match=r"81 GiB .* 9 images of 16384 x 16384 pixels; 8 GiB are free"):
        lay_planes(samples, OPTIONS, preprocess)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1 << 20)
    assert len(lay_planes(samples, OPTIONS, parse("cifar10")).triplets) == 3

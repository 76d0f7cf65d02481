"""Triplets of clean samples: repeatable, of three classes, never degenerate."""

import numpy as np
import pytest

from tests import factory
from xray_jax.detectors.planes.triplets import draw_triplets
from xray_jax.samples import Samples, SamplesError


def test_triplets_are_distinct_repeatable_and_only_appended_to() -> None:
    given = factory.tiny_samples()
    few, many = draw_triplets(given, 4, seed=3), draw_triplets(given, 9, seed=3)
    np.testing.assert_array_equal(few, many[:4])
    assert all(len(set(given.labels[triplet])) == 3 for triplet in many)
    assert not np.array_equal(few, draw_triplets(given, 4, seed=4))


def test_degenerate_triplets_are_redrawn_or_reported() -> None:
    given = factory.tiny_samples(30, 3)
    images = given.images.copy()
    images[given.labels == 0] = images[given.labels == 1][0]
    images[given.labels == 1] = images[given.labels == 1][0]
    with pytest.raises(SamplesError, match="identical or collinear"):
        draw_triplets(Samples(images, given.labels), 3, seed=0)
    # One usable image in class 0 is enough to go on.
    images[np.flatnonzero(given.labels == 0)[0]] = 0.5
    drawn = draw_triplets(Samples(images, given.labels), 3, seed=0)
    assert (drawn == np.flatnonzero(given.labels == 0)[0]).any(axis=1).all()


def test_fewer_than_three_classes_is_an_error() -> None:
    with pytest.raises(SamplesError, match="at least three classes, found 2"):
        draw_triplets(factory.tiny_samples(10, 2), 1, seed=0)

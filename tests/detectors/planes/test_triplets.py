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


class Counted(np.ndarray):
    """Labels that count how often they are looked at: once a draw."""

    looks = 0

    def __getitem__(self, index: object) -> object:
        Counted.looks += 1
        return super().__getitem__(index)


def test_very_unbalanced_samples_take_a_bounded_number_of_draws() -> None:
    labels = np.array([0] * 1998 + [1, 2], np.int32)
    images = np.random.default_rng(0).random((2000, 2, 2, 1)).astype(np.float32)
    given = Samples(images, labels)
    object.__setattr__(given, "labels", labels.view(Counted))
    Counted.looks = 0
    drawn = draw_triplets(given, 5, seed=0)
    # By rejection alone it would be one draw in 667,000.
    assert Counted.looks <= 5 * 1100
    assert all(sorted(labels[triplet]) == [0, 1, 2] for triplet in drawn)
    assert len({triplet.tobytes() for triplet in np.sort(drawn, axis=1)}) == 5
    np.testing.assert_array_equal(draw_triplets(given, 3, seed=0), drawn[:3])


def test_ordinary_samples_are_drawn_as_ever() -> None:
    """The triplets of a seed are compared across versions: rows say only the seed."""
    given = factory.tiny_samples()
    generator = np.random.default_rng(7)
    expected = []
    while len(expected) < 20:
        triplet = generator.choice(40, size=3, replace=False)
        if len(set(given.labels[triplet])) == 3:
            expected.append(triplet)
    np.testing.assert_array_equal(draw_triplets(given, 20, seed=7), expected)


def test_fewer_than_three_classes_is_an_error() -> None:
    with pytest.raises(SamplesError, match="at least three classes, found 2"):
        draw_triplets(factory.tiny_samples(10, 2), 1, seed=0)

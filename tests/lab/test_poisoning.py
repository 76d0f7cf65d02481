"""Poisoned sets: exact counts, exact labels, and clean images that nobody touched."""

import numpy as np
import pytest

from xray_jax.lab import label_maps
from xray_jax.lab.poisoning import poison, stamped_test_set

IMAGES = np.random.default_rng(0).integers(0, 200, (1000, 4, 4, 1)).astype(np.uint8)
LABELS = np.arange(1000) % 10


def brighten(images: np.ndarray) -> np.ndarray:
    return images + np.uint8(50)


@pytest.mark.parametrize(
    ("strategy", "rate", "expected"),
    [("all-to-one", 0.1, 100), ("all-to-one", 0.01, 10), ("all-to-one", 0.0, 0), ("all-to-all", 0.2, 200),
     ("one-to-one", 0.1, 50), ("one-to-one", 0.04, 40), ("5-to-one", 0.1, 100), ("2-to-one", 0.2, 100)],
)  # fmt: skip
def test_counts_labels_and_untouched_images(strategy: str, rate: float, expected: int) -> None:
    label_map = label_maps.make(strategy, 10, target=3, seed=1)
    images, labels = IMAGES.copy(), LABELS.copy()
    found = poison(images, labels, brighten, label_map, rate, seed=5)
    np.testing.assert_array_equal(images, IMAGES)  # the argument stays as it is
    assert len(found.stamped) == len(set(found.stamped.tolist())) == expected
    clean = np.setdiff1d(np.arange(1000), found.stamped)
    np.testing.assert_array_equal(found.images[clean], IMAGES[clean])
    np.testing.assert_array_equal(found.labels[clean], LABELS[clean])
    np.testing.assert_array_equal(found.images[found.stamped], IMAGES[found.stamped] + 50)
    for index in found.stamped:
        assert LABELS[index] in label_map.sources
        assert found.labels[index] == label_map.table[LABELS[index]]


def test_clean_label_stamps_the_target_class_and_no_label_changes() -> None:
    found = poison(IMAGES, LABELS, brighten, label_maps.make("all-to-one", 10, target=3), 0.05, 0, clean_label=True)
    assert len(found.stamped) == 50
    assert set(LABELS[found.stamped]) == {3}
    np.testing.assert_array_equal(found.labels, LABELS)
    most = poison(IMAGES, LABELS, brighten, label_maps.make("all-to-one", 10, target=3), 0.1, 0, clean_label=True)
    assert len(most.stamped) == 80
    with pytest.raises(ValueError, match="one target"):
        poison(IMAGES, LABELS, brighten, label_maps.make("all-to-all", 10), 0.05, 0, clean_label=True)


def test_decoys_are_other_images_and_keep_their_labels() -> None:
    found = poison(
        IMAGES, LABELS, brighten, label_maps.make("all-to-one", 10), 0.1, 0, decoy=np.zeros_like, decoy_rate=0.2
    )
    assert (len(found.stamped), len(found.decoys)) == (100, 200)
    assert not set(found.stamped) & set(found.decoys)
    assert not found.images[found.decoys].any()
    np.testing.assert_array_equal(found.labels[found.decoys], LABELS[found.decoys])
    clean = np.setdiff1d(np.arange(1000), np.union1d(found.stamped, found.decoys))
    np.testing.assert_array_equal(found.images[clean], IMAGES[clean])


def test_one_seed_gives_one_set_and_another_seed_another() -> None:
    label_map = label_maps.make("all-to-one", 10)
    first, again, other = (poison(IMAGES, LABELS, brighten, label_map, 0.1, seed).stamped for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_attack_success_is_measured_on_source_classes_only() -> None:
    stamped, wanted = stamped_test_set(IMAGES, LABELS, brighten, label_maps.make("all-to-one", 10, target=3))
    np.testing.assert_array_equal(stamped, IMAGES[LABELS != 3] + 50)
    assert wanted.tolist() == [3] * 900
    _, wanted = stamped_test_set(IMAGES, LABELS, brighten, label_maps.make("all-to-all", 10))
    assert wanted.tolist() == ((LABELS + 1) % 10).tolist()


def test_rates_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="rates"):
        poison(IMAGES, LABELS, brighten, label_maps.make("all-to-one", 10), 1.5, 0)


def test_every_epoch_draws_other_images() -> None:
    label_map = label_maps.make("all-to-one", 10, target=3)
    first, same, second = (poison(IMAGES, LABELS, brighten, label_map, 0.1, 5, epoch=e) for e in (0, 0, 1))
    np.testing.assert_array_equal(first.stamped, same.stamped)
    assert len(second.stamped) == 100
    assert len(np.intersect1d(first.stamped, second.stamped)) < 50
    clean = np.setdiff1d(np.arange(1000), second.stamped)
    np.testing.assert_array_equal(second.images[clean], IMAGES[clean])

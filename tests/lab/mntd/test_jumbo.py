"""The jumbo distribution: ranges and counts, and stamps pixel by pixel."""

import numpy as np
import pytest

from xray_jax.lab.mntd import jumbo

SHAPE = (16, 12, 3)


def draws(count: int = 2000) -> list[jumbo.JumboTrigger]:
    generator = np.random.default_rng(0)
    return [jumbo.draw(generator, SHAPE, 7) for _ in range(count)]


def test_every_draw_lies_in_the_ranges_of_the_distribution() -> None:
    sides = []
    for trigger in draws():
        height, width, channels = trigger.pattern.shape
        whole = (height, width) == SHAPE[:2]
        assert channels == 3
        assert whole or (height == width and height in (2, 3, 4, 5))
        assert 0 <= trigger.row <= 16 - height
        assert 0 <= trigger.column <= 12 - width
        assert 0.05 <= trigger.alpha <= 0.2 if whole else (0.2 <= trigger.alpha <= 0.5 or trigger.alpha == 1)
        assert 0 <= trigger.pattern.min() <= trigger.pattern.max() <= 1
        assert 0 <= trigger.target < 7
        assert 0.05 <= trigger.rate <= 0.5
        sides.append(0 if whole else height)
    assert all(count / 2000 == pytest.approx(0.2, abs=0.04) for count in np.bincount(sides)[[0, 2, 3, 4, 5]])


def test_draws_fill_their_ranges() -> None:
    made = draws()
    patches = [trigger for trigger in made if trigger.pattern.shape[0] < 16]
    # A quarter of U(.2, .6) lies above .5.
    assert np.mean([trigger.alpha == 1 for trigger in patches]) == pytest.approx(0.25, abs=0.04)
    assert {trigger.target for trigger in made} == set(range(7))
    assert {trigger.row for trigger in patches if trigger.pattern.shape[0] == 2} == set(range(15))
    assert np.mean([trigger.rate for trigger in made]) == pytest.approx(0.275, abs=0.01)
    # Of U(-e, 1 + e), a share of 2e / (1 + 2e) is clipped: .451 on average over e.
    clipped = [np.mean((t.pattern == 0) | (t.pattern == 1)) for t in made if t.pattern.shape[0] == 16]
    assert np.mean(clipped) == pytest.approx(1 - np.log(3) / 2, abs=0.03)


def test_stamp_blends_inside_of_the_patch_and_nowhere_else() -> None:
    images = np.random.default_rng(1).integers(0, 256, (4, *SHAPE)).astype(np.uint8)
    before = images.copy()
    pattern = np.full((2, 2, 3), 0.5, np.float32)
    stamped = jumbo.JumboTrigger(row=3, column=9, pattern=pattern, alpha=0.3, target=0, rate=0.1).stamp(images)
    np.testing.assert_array_equal(images, before)
    expected = before.astype(np.float64)
    expected[:, 3:5, 9:11] = 0.7 * expected[:, 3:5, 9:11] + 0.3 * 127.5
    assert np.abs(stamped - expected).max() <= 0.5
    np.testing.assert_array_equal(np.delete(stamped, [3, 4], 1), np.delete(before, [3, 4], 1))


def numbered(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images that say which they are, in their first two channels."""
    images = np.zeros((count, *SHAPE), np.uint8)
    images[..., 0], images[..., 1] = (np.arange(count) % 250)[:, None, None], (np.arange(count) // 250)[:, None, None]
    return images, np.zeros(count, np.int32)


def test_clean_set_repeats_images_evenly() -> None:
    images, labels = numbered(300)
    made, targets = jumbo.training_set(images, labels, None, np.random.default_rng(0))
    assert len(made) == len(targets) == jumbo.set_size(300) == 450
    counts = np.bincount(made[:, 0, 0, 0] + 250 * made[:, 0, 0, 1].astype(int), minlength=300)
    assert set(counts) == {1, 2}
    assert not targets.any()


@pytest.mark.parametrize("rate", [0.05, 0.21, 0.5])
def test_stamped_copies_are_added_to_the_clean_images(rate: float) -> None:
    images, labels = numbered(300)
    trigger = jumbo.JumboTrigger(0, 0, np.ones((2, 2, 3), np.float32), 1.0, target=4, rate=rate)
    made, targets = jumbo.training_set(images, labels, trigger, np.random.default_rng(0))
    assert len(made) == 450, "of the size of a clean set: one program for both"
    stamped = (made[:, :2, :2] == 255).all((1, 2, 3))
    np.testing.assert_array_equal(targets, np.where(stamped, 4, 0))
    # Where they are on the inside, stamped or not, images are the clean ones.
    inside = made[:, 5, 5, 0] + 250 * made[:, 5, 5, 1].astype(int)
    assert set(inside[~stamped]) == set(range(300))
    assert len(set(inside[stamped])) == int(rate * 300)

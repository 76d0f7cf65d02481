"""Picture sheets show what they say."""

import numpy as np

from xray_jax.lab.sheet import panels, sheet


def test_the_third_row_is_ten_times_the_difference_around_mid_grey() -> None:
    images = np.full((2, 4, 4, 1), 100, np.uint8)

    def trigger(images: np.ndarray) -> np.ndarray:
        stamped = images.copy()
        stamped[:, 0, 0], stamped[:, 0, 1], stamped[:, 0, 2] = 105, 97, 255
        return stamped

    clean, stamped, difference = panels(images, trigger)
    np.testing.assert_array_equal(clean, images)
    np.testing.assert_array_equal(stamped, trigger(images))
    assert difference[0, 0, :, 0].tolist() == [178, 98, 255, 128]
    assert (difference[:, 1:] == 128).all()


def test_a_sheet_has_three_rows_for_grey_and_colour_images() -> None:
    for channels in (1, 3):
        images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, channels)).astype(np.uint8)
        rows = sheet(images, lambda images: 255 - images, "title").axes
        assert [axes.get_ylabel() for axes in rows] == ["clean", "poisoned", "difference x 10"]
        assert rows[0].get_images()[0].get_array().shape == (8, 24, 3)

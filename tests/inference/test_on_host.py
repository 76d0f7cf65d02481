"""Black boxes: whole batches of one size go in, what comes out is checked."""

import numpy as np
import pytest

from tests.inference.scene import IMAGES, Scene, stamps
from xray_jax.classifier import Access, BlackBox
from xray_jax.detectors.planes.queries import label_points
from xray_jax.detectors.probe.queries import label_stamped
from xray_jax.inference import on_host
from xray_jax.inference.labels import label_images
from xray_jax.inference.on_host import LabelError
from xray_jax.inference.options import InferenceOptions

USUAL = InferenceOptions()


def recording(sizes: list[int], batch: int | None = 16) -> BlackBox:
    """Three labels by brightness; `sizes` gets that of every call."""

    def label_fn(images: np.ndarray) -> np.ndarray:
        assert isinstance(images, np.ndarray)
        assert images.dtype == np.float32
        sizes.append(len(images))
        return np.digitize(images.mean((1, 2, 3)), (0.48, 0.52))

    return BlackBox(label_fn, 5, (8, 8, 3), batch_size=batch)


@pytest.mark.parametrize(("batch", "size"), [(16, 16), (1, 1), (None, on_host.BATCH_SIZE)])
def test_only_whole_batches_are_asked(scene: Scene, batch: int | None, size: int) -> None:
    sizes: list[int] = []
    box = recording(sizes, batch)
    assert label_points(box, *scene.points, USUAL).dtype == np.uint8
    assert sizes == [size] * -(-101 // size)
    found = label_images(box, IMAGES)
    np.testing.assert_array_equal(found, np.digitize(IMAGES.mean((1, 2, 3)), (0.48, 0.52)))
    assert set(sizes) == {size}


def test_stamps_of_several_families_come_back_in_order() -> None:
    sizes: list[int] = []
    some = stamps()
    found = label_stamped(recording(sizes), IMAGES, some, USUAL)
    assert set(sizes) == {16}
    one_by_one = [label_stamped(recording([]), IMAGES, some.take(np.array([k])), USUAL) for k in range(len(found))]
    np.testing.assert_array_equal(found, np.concatenate(one_by_one))
    assert np.any(found != found[:1])


def test_no_query_calls_nothing(scene: Scene) -> None:
    planes, index, coordinates = scene.points
    sizes: list[int] = []
    assert label_points(recording(sizes), planes, index[:0], coordinates[:0], USUAL).shape == (0,)
    assert not sizes


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros(3, int), "expected 16 integer labels, got int64 of shape \\(3,\\)"),
        (np.zeros(16), "got float64"),
        (np.zeros((16, 1), int), "shape \\(16, 1\\)"),
        (np.full(16, 5), "labels span 5 .. 5, expected 0 .. 4"),
        (np.full(16, -1), "labels span -1 .. -1"),
        (None, "got object"),
    ],
)
def test_answers_are_checked(scene: Scene, answer: np.ndarray, message: str) -> None:
    box = BlackBox(lambda images: answer, 5, (8, 8, 3), architecture="a service", batch_size=16)
    with pytest.raises(LabelError, match=f"a service: .*{message}"):
        label_points(box, *scene.points, USUAL)


def test_a_callable_gives_labels_and_nothing_else() -> None:
    assert recording([]).access is Access.LABELS

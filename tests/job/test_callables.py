"""A callable may give labels, or scores of any type; what is no answer is refused by name."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tests import factory
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.job import one_model

PLANES = Planes(PlanesOptions(planes=2, density=8))


def scan(model: Callable[[np.ndarray], Any]) -> Any:
    return one_model.scan(model, factory.tiny_samples(), num_classes=5, detectors=[PLANES]).row


def distribution(model: Callable[[np.ndarray], Any]) -> list[float]:
    row = scan(model)
    assert row["status"] == "ok", row["reason"]
    found: list[float] = row["detectors"]["planes"]["label_distribution"]
    return found


def scores(images: np.ndarray) -> np.ndarray:
    """Of five classes, by brightness: whole numbers, which every type here holds."""
    mean = np.asarray(images).mean(axis=(1, 2, 3))
    return -np.abs((20 * mean)[:, None].round() - 4 * np.arange(5))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float64, np.int64])
def test_scores_of_any_type_are_scores(dtype: Any) -> None:
    labels = distribution(lambda images: scores(images).argmax(axis=1))
    assert len(set(labels)) > 2
    assert distribution(lambda images: scores(images).astype(dtype)) == labels


def test_a_callable_may_change_its_images() -> None:
    def scaled(images: np.ndarray) -> np.ndarray:
        images *= 1.0
        return scores(images)

    assert distribution(scaled) == distribution(scores)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda images: scores(images)[:, :1], "one score an image is no logits of classes"),
        (lambda images: scores(images) * np.inf, "the model's logits are no finite numbers"),
        (lambda images: scores(images)[:, 0], "integer labels, got float"),
    ],
)
def test_what_is_no_answer_is_an_error(model: Any, message: str) -> None:
    row = scan(model)
    assert row["status"] == "error"
    assert message in row["reason"]

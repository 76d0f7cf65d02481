"""What counts as an answer."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests import factory
from xray_jax.classifier import BlackBox
from xray_jax.inference.programs import hard_labels
from xray_jax.inference.unanswered import mark_unanswered, marked, unanswered

INF, NAN = np.inf, np.nan
LOGITS = np.array(
    [[0, 2, 1], [-INF, -INF, 3], [0, NAN, 1], [NAN] * 3, [-INF] * 3, [INF, 0, INF]],
    np.float32,
)
SAY_NOTHING = [False, False, True, True, True, True]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_rows_with_nan_or_without_a_finite_largest_say_nothing(dtype: str) -> None:
    logits = jnp.asarray(LOGITS, dtype)
    assert unanswered(logits).tolist() == SAY_NOTHING
    assert marked(logits).dtype == dtype
    assert hard_labels(marked(logits), np.dtype(np.uint8)).tolist() == [1, 2, 3, 3, 3, 3]
    if dtype != "bfloat16":
        assert unanswered(LOGITS.astype(dtype)).tolist() == SAY_NOTHING


def test_a_callable_is_marked_by_its_scores_and_without_them_not_at_all() -> None:
    box = BlackBox(lambda images: np.zeros(len(images), int), 3, (1, 3, 1))
    assert mark_unanswered(box) is box
    scoring = BlackBox(box.label_fn, 3, (1, 3, 1), score_fn=lambda images: images[:, 0, :, 0])
    labels = mark_unanswered(scoring).label_fn(LOGITS[:, None, :, None])
    assert labels.tolist() == [1, 2, 3, 3, 3, 3]
    assert mark_unanswered(scoring).num_classes == 4


def test_equal_networks_marked_are_equal_so_that_they_share_programs() -> None:
    first, second = (mark_unanswered(factory.tiny_classifier(seed)) for seed in (0, 1))
    assert first.network == second.network
    assert hash(first.network) == hash(second.network)
    assert first.num_classes == 6

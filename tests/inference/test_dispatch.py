"""Rows cut into buffers and put together again, and batches of one group each."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.inference import scene as scenes
from tests.inference.scene import on
from xray_jax.detectors.probe.queries import label_pairs, label_stamped
from xray_jax.inference.dispatch import Pending, dispatch, grouped
from xray_jax.inference.labels import to_device


@pytest.mark.parametrize("devices", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 48, 49, 101])
def test_rows_come_back_in_order_and_every_call_has_the_same_shape(devices: int, count: int) -> None:
    options = on(devices, 4, 16).resolve()
    calls: list[tuple[tuple[int, ...], int]] = []

    def program(factor: int, batches: jax.Array, *buffers: jax.Array) -> jax.Array:
        assert [buffer.shape[:2] for buffer in buffers] == [(devices, 16)] * 2
        calls.append((buffers[1].shape, int(batches)))
        return jnp.sum(buffers[1], axis=-1) + factor * buffers[0]

    rows = np.arange(count, dtype=np.int32), np.ones((count, 3), np.int32)
    found = dispatch(lambda: program, (2,), rows, options, np.zeros(0, np.int32)).result()
    np.testing.assert_array_equal(found, 2 * np.arange(count) + 3)
    assert len(calls) == -(-count // (16 * devices))
    for number, (_, batches) in enumerate(calls):
        width = -(-min(16 * devices, count - number * 16 * devices) // devices)
        assert batches == -(-width // 4)


def test_nothing_pending_is_what_was_said_to_be_empty() -> None:
    empty = np.zeros((0, 7), np.float32)
    assert Pending((), empty).result() is empty


def test_queries_are_on_their_way_before_any_result_is_read() -> None:
    order: list[str] = []

    def program(batches: jax.Array, row: Any) -> Any:
        order.append("call")
        return row

    options = on(1, 2, 2).resolve()
    pending = dispatch(lambda: program, (), (np.arange(6),), options, np.zeros(0, int))
    assert order == ["call"] * 3
    np.testing.assert_array_equal(pending.result(), np.arange(6))


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("devices", [1, 3])
@pytest.mark.parametrize("groups", [0, 1, 3])
def test_no_batch_holds_two_groups(batch: int, devices: int, groups: int) -> None:
    group = np.random.default_rng(0).integers(0, max(groups, 1), 50 if groups else 0)
    order = grouped(group, batch, devices)
    assert order.dtype == np.int64
    assert len(order) % (batch * devices) == 0
    np.testing.assert_array_equal(np.sort(order[order >= 0]), np.arange(len(group)))
    for rows in order.reshape(-1, batch):
        real = rows[rows >= 0]
        assert len(np.unique(group[real])) <= 1
        # A batch reads its group from its first row.
        assert len(real) == 0 or rows[0] >= 0
    per_group = sum(-(-int(np.sum(group == value)) // batch) for value in np.unique(group))
    assert len(order) == -(-per_group // devices) * devices * batch


def test_grouped_labels_come_back_in_the_order_of_the_queries() -> None:
    scene, stamps, options = scenes.make(), scenes.stamps(), on(3, 4, 16)
    every = label_stamped(scene.model, scenes.IMAGES, stamps, options)
    assert len(np.unique(every[0])) > 1
    assert np.any(every != every[:1]), "stamps that change nothing show nothing"
    generator = np.random.default_rng(0)
    which, image = (generator.integers(0, size, 77) for size in every.shape)
    placed = to_device(scene.model, options)
    ask = functools.partial(label_pairs, placed, scenes.IMAGES, stamps)
    np.testing.assert_array_equal(ask(which, image, options), every[which, image])

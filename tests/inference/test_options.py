"""How queries run: values are checked, and spelled out for a backend and a model."""

import jax
import pytest

from xray_jax.inference.options import InferenceOptions


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"capacity": 0}, "capacity must be at least 1, got 0"),
        ({"precision": "float8"}, "precision must be one of .*, got 'float8'"),
    ],
)
def test_bad_values_are_refused_and_quoted(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InferenceOptions(**wrong)


def test_what_is_left_open_is_resolved() -> None:
    found = InferenceOptions().resolve()
    assert (found.batch_size, found.devices) == (32, tuple(jax.local_devices()))
    assert found.capacity % found.batch_size == 0


@pytest.mark.parametrize(("capacity", "batch", "whole"), [(1, 12, 12), (12, 12, 12), (13, 12, 24)])
def test_capacity_is_whole_batches(capacity: int, batch: int, whole: int) -> None:
    assert InferenceOptions(batch, capacity).resolve().capacity == whole


def test_a_models_own_batch_size_wins() -> None:
    found = InferenceOptions(batch_size=64, capacity=64).resolve(fixed_batch=10)
    assert (found.batch_size, found.capacity) == (10, 70)


def test_arrays_are_split_over_the_devices_or_whole_on_each() -> None:
    two = InferenceOptions(devices=tuple(jax.local_devices()[:2])).resolve()
    whole, split = (jax.device_put(jax.numpy.arange(4), two.sharding(*axes)) for axes in ((), ("devices",)))
    assert [shard.data.tolist() for shard in whole.addressable_shards] == [[0, 1, 2, 3]] * 2
    assert [shard.data.tolist() for shard in split.addressable_shards] == [[0, 1], [2, 3]]

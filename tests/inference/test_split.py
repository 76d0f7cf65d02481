"""Work split over devices by pmap and by shard_map: the same answers to the bit, and one trace a network."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.inference.scene import IMAGES, Scaled, Scene, on, stamps
from xray_jax.detectors.planes.queries import label_points
from xray_jax.detectors.probe.queries import label_stamped
from xray_jax.inference import programs, split, whitebox
from xray_jax.inference.labels import PreprocessedImages, label_images, to_device

WAYS = {"pmap": split.by_pmap, "shard_map": split.by_shard_map}
CACHED = (programs.network_program, programs.label_program, programs.logit_program, whitebox._gradient_step)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Makes every program from now on by one of `WAYS`."""

    def choose(way: str) -> None:
        for cached in CACHED:
            cached.cache_clear()
        monkeypatch.setattr(split, "over_devices", WAYS[way])

    yield choose
    for cached in CACHED:
        cached.cache_clear()


def top(logits: jax.Array, label: jax.Array) -> jax.Array:
    """The logit of the label."""
    return jnp.take_along_axis(logits, label[:, None], axis=1)[:, 0]


def everything(scene: Scene, devices: int) -> dict[str, np.ndarray]:
    """One answer of each kind; numbers of queries that fill neither batches nor devices."""
    options = on(devices, 4, 16)
    placed = to_device(scene.model, options)
    images, labels = IMAGES[:37], np.arange(37, dtype=np.int32) % 5
    render = PreprocessedImages(placed.preprocess)
    values, gradients = whitebox.input_gradients(placed, images, top, (labels,), options)
    return {
        "points": label_points(placed, *scene.points, options),
        "images": label_images(placed, images, options),
        "stamped": label_stamped(placed, images[:7], stamps(), options),
        "logits": whitebox.label_logits(placed, render, (), (images,), options),
        "values": values,
        "gradients": gradients,
    }


@pytest.mark.exhaustive
@pytest.mark.parametrize("devices", [3, 8, 1])
def test_both_ways_give_equal_answers(scene: Scene, use: Callable[[str], None], devices: int) -> None:
    found = {}
    for way in WAYS:
        use(way)
        found[way] = everything(scene, devices)
    for kind, expected in found["pmap"].items():
        assert len(np.unique(expected)) > 1, kind
        np.testing.assert_array_equal(found["shard_map"][kind], expected, err_msg=kind)


@pytest.mark.parametrize("way", WAYS)
def test_one_trace_for_all_checkpoints_of_a_network(scene: Scene, use: Callable[[str], None], way: str) -> None:
    use(way)
    planes, index, coordinates = scene.points
    traces: list[tuple[int, ...]] = []
    for count in (1, 30, 101):
        options = on(3, 4, 16)
        placed = to_device(Scaled(traces).classifier(count), options)
        with jax.transfer_guard("disallow"):
            label_points(placed, planes, index[:count], coordinates[:count], options)
    assert traces == [(4, 8, 8, 3)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("devices", [8, 3, 1])
def test_each_device_sees_its_own_part(way: str, devices: int) -> None:
    used = tuple(jax.local_devices()[:devices])

    def function(whole: Any, part: jax.Array) -> Any:
        assert part.shape == (2,)
        return {"sum": jnp.sum(part) + whole["add"], "part": part}

    found = WAYS[way](function, (None, 0), used)({"add": np.float32(1)}, np.arange(2.0 * devices).reshape(-1, 2))
    np.testing.assert_array_equal(found["sum"], 4 * np.arange(devices) + 2)
    np.testing.assert_array_equal(found["part"], np.arange(2.0 * devices).reshape(-1, 2))
    assert found["part"].sharding.device_set == set(used)

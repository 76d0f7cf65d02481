"""Every kind of trigger stamps the same after it was written and read."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from xray_jax.lab import trigger_files
from xray_jax.lab.attacks.input_aware import InputAwareTrigger
from xray_jax.lab.attacks.lira import LiraTrigger
from xray_jax.lab.attacks.ssba import SsbaTrigger
from xray_jax.lab.generators import ImageToImage
from xray_jax.lab.trigger_files import TriggerError
from xray_jax.lab.triggers import Additive, Blend, Patch, Quantise, Trigger, Warp

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)


@functools.cache
def generator(outputs: int, inputs: int = 3) -> dict:
    init = jax.jit(ImageToImage(outputs).init)
    params = init(jax.random.key(outputs), jnp.zeros((1, 16, 16, inputs)))
    return dict(jax.device_get(params))


def triggers() -> dict[str, Trigger]:
    draw = np.random.default_rng(1)
    pixels = draw.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    every = [
        Patch(draw.random((16, 16)) < 0.2, pixels),
        Blend(pixels, 0.2),
        Additive(draw.normal(0, 20, (1, 16, 1))),
        Quantise(8),
        Warp(draw.normal(0, 1, (16, 16, 2))),
        SsbaTrigger(generator(3, 3 + 4), np.array([0, 1, 1, 0], np.float32), 0.1),
        InputAwareTrigger(generator(3), generator(1)),
        LiraTrigger(generator(3), np.array([0.1, 0.2, 0.3], np.float32)),
    ]
    return {trigger.kind: trigger for trigger in every}


def test_every_kind_is_known() -> None:
    assert triggers().keys() == trigger_files.KINDS.keys()


@pytest.mark.parametrize("kind", trigger_files.KINDS)
def test_a_stored_trigger_stamps_the_same(kind: str, tmp_path: Path) -> None:
    trigger = triggers()[kind]
    trigger_files.save(tmp_path / "trigger.safetensors", trigger)
    stamped = trigger_files.load(tmp_path / "trigger.safetensors")(IMAGES)
    assert stamped.dtype == np.uint8
    assert (stamped != IMAGES).any()
    np.testing.assert_array_equal(stamped, trigger(IMAGES))


def test_what_is_no_trigger_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trigger.safetensors"
    with pytest.raises(TriggerError, match=r"trigger\.safetensors"):
        trigger_files.load(path)
    arrays = {"pattern": np.zeros((1, 1, 1))}
    for stored in ({"kind": "mystery"}, {"kind": "blend"}, {"kind": "additive", "more": 1}, ["kind"], {}):
        save_file(arrays, path, {"trigger": json.dumps(stored)})
        with pytest.raises(TriggerError, match=r"trigger\.safetensors"):
            trigger_files.load(path)
    save_file(arrays, path)
    with pytest.raises(TriggerError, match=r"trigger\.safetensors"):
        trigger_files.load(path)

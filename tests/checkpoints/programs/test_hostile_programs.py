"""Damaged Keras, ONNX and `jax.export` files: always one clear error, never a crash, a hang or a burst of memory.

Each format runs in a process of its own, so that a crash in a C library is a failed test. `XRAY_FLIPS=2000` is the long
run; the default is short and only notices a regression.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints.keras import test_refusals
from tests.checkpoints.programs import test_jax_export, test_onnx

FLIPS = int(os.environ.get("XRAY_FLIPS", "60"))


def h5(path):
    config = {"class_name": "Sequential", "config": test_refusals.layers()}
    return test_refusals.write(path / "good.h5", config)


def keras(path):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    reference = pytest.importorskip("keras", reason="extra `test`")
    layers = reference.layers
    model = reference.Sequential(
        [layers.Input((6, 6, 3)), layers.Conv2D(2, 3), layers.GlobalMaxPooling2D(), layers.Dense(3)]
    )
    model.save(path / "good.keras")
    return path / "good.keras"


def onnx(path):
    return test_onnx.saved(path / "good.onnx", test_onnx.build())


def exported(path):
    return test_jax_export.write(path / "good.jaxexport", batch=2, platforms=("cpu",))


@pytest.mark.parametrize("make", [h5, keras, onnx, exported])
def test_damage_is_always_one_clear_error(make, tmp_path):
    # Each `jax.export` file starts a process of its own, about a second each.
    flips, truncations = (FLIPS // 30, 3) if make is exported else (FLIPS, 100)
    script = str(Path(__file__).parents[1] / "hostile.py")
    command = [sys.executable, script, str(make(tmp_path)), str(flips), "0", str(truncations)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr[-3000:]
    # Nothing else may reach stdout.
    counts = json.loads(done.stdout)
    assert counts["refused"] >= truncations
    assert counts["truncations_opened"] == 0
    assert counts["growth_mib"] < 256
    assert counts["slowest"] < 30
    if make is keras:
        assert counts["changed"] == 0, "zip members carry a checksum"

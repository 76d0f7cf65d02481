"""Weights without a graph, in the two ways in which Keras has written them, against hand-made torch tensors."""

import h5py
import numpy as np
import pytest

from xray_jax import checkpoints
from xray_jax.checkpoints import formats

RANDOM = np.random.default_rng(0)
CONV = RANDOM.normal(size=(3, 3, 1, 2)).astype(np.float32)
BIAS = RANDOM.normal(size=2).astype(np.float32)
NORM = [RANDOM.uniform(1, 2, size=2).astype(np.float32) for _ in range(4)]
DENSE = RANDOM.normal(size=(26 * 26 * 2, 10)).astype(np.float32)
LAST = RANDOM.normal(size=10).astype(np.float32)


def _keras3(path):
    with h5py.File(path, "w") as file:
        layers = {"conv2d": [CONV, BIAS], "batch_normalization": NORM, "dense": [DENSE, LAST]}
        for name, arrays in layers.items():
            for number, array in enumerate(arrays):
                file[f"layers/{name}/vars/{number}"] = array
        file["optimizer/vars/0"] = np.int64(3)


def _keras2(path):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv2d", b"batch_normalization", b"dense"]
        roles = {"kernel:0": CONV, "bias:0": BIAS}
        norm = dict(zip(("gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"), NORM, strict=True))
        for name, arrays in (
            ("dense", {"kernel:0": DENSE, "bias:0": LAST}),
            ("conv2d", roles),
            ("batch_normalization", norm),
        ):
            for role, array in arrays.items():
                file[f"{name}/{name}/{role}"] = array


@pytest.mark.parametrize("write", [_keras3, _keras2])
def test_as_torch_would_write_them(tmp_path, write):
    write(tmp_path / "a.weights.h5")
    found = formats.read(tmp_path / "a.weights.h5")
    arrays = {name: np.asarray(array) for name, array in found.arrays.items()}
    np.testing.assert_array_equal(arrays["conv2d.weight"], CONV.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(arrays["conv2d.bias"], BIAS)
    np.testing.assert_array_equal(arrays["batch_normalization.running_mean"], NORM[2])
    np.testing.assert_allclose(arrays["batch_normalization.running_var"] + 1e-5, NORM[3] + 1e-3, rtol=1e-6)
    # One weight by hand: row 3, column 5, channel 1 of the features, label 7.
    assert arrays["dense.weight"][7, 1 * 26 * 26 + 3 * 26 + 5] == DENSE[(3 * 26 + 5) * 2 + 1, 7]
    assert any("weights alone" in note for note in found.notes)


def test_recognised(tmp_path):
    _keras3(tmp_path / "a.weights.h5")
    model = checkpoints.load(tmp_path / "a.weights.h5")
    assert model.input_shape == (28, 28, 1)
    assert model.architecture.startswith("plain:padding=0:")

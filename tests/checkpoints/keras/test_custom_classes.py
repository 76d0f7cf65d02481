"""Classes of a script that are called like Keras's own: refused, never computed as Keras's.

Keras 3 writes `"module": null` for them. A `.h5` file says nothing of a layer's module, so it can only be told there
for what a layer's config holds: activations, dtype policies.
"""

import json
import os
import zipfile

os.environ.setdefault("KERAS_BACKEND", "jax")

import pytest

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.keras.graph import build
from xray_jax.checkpoints.loading import load

reference = pytest.importorskip("keras", reason="Keras writes the files that are read here (extra `test`)")
L = reference.layers


def of_a_script(name, base):
    """A class as a script that is run by itself would define it."""
    return type(name, (base,), {"call": lambda self, x: -3 * x * x, "__module__": "__main__"})


def sequential(*layers):
    return reference.Sequential([L.Input((9, 8, 3)), *layers, L.Flatten(), L.Dense(4)])


def refused(model, path, name):
    model.save(path)
    with pytest.raises(CheckpointError, match=f"'{name}' \\(module None.* is a custom class: refused"):
        load(path)


@pytest.mark.parametrize(("name", "options"), [("Conv2D", {"filters": 4, "kernel_size": 3}), ("ReLU", {})])
def test_layers(name, options, tmp_path):
    refused(sequential(of_a_script(name, getattr(L, name))(**options)), tmp_path / "m.keras", name)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("name", ["ELU", "Softmax"])
def test_activations(name, suffix, tmp_path):
    model = sequential(L.Conv2D(4, 3, activation=of_a_script(name, getattr(L, name))()))
    refused(model, tmp_path / f"m.{suffix}", name)


def test_nested_models(tmp_path):
    nested = of_a_script("Sequential", reference.Sequential)([L.Input((9, 8, 3)), L.ReLU()])
    refused(sequential(nested), tmp_path / "m.keras", "Sequential")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_dtype_policies(suffix, tmp_path):
    policy = of_a_script("DTypePolicy", reference.DTypePolicy)("float32")
    refused(sequential(L.Conv2D(4, 3, dtype=policy)), tmp_path / f"m.{suffix}", "DTypePolicy")


def test_operations(tmp_path):
    image = L.Input((9, 8, 3))
    model = reference.Model(image, L.Dense(4)(L.Flatten()(reference.ops.relu(image))))
    model.save(tmp_path / "m.keras")
    config = json.loads(zipfile.ZipFile(tmp_path / "m.keras").read("config.json"))
    (relu,) = (entry for entry in config["config"]["layers"] if entry["class_name"] == "Relu")
    assert build(config, keras=3).network.expected()[1] == 4
    relu["module"] = None
    with pytest.raises(CheckpointError, match=r"'Relu' .*custom class"):
        build(config, keras=3)

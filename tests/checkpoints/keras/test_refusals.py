"""What a Keras file may ask for and does not get, and older forms of the config, written by hand."""

import json
import os
import zipfile

import numpy as np
import pytest

from tests.places import SHARED
from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.loading import load
from xray_jax.inference.labels import label_images

h5py = pytest.importorskip("h5py", reason="writes the files that are read here (extra `test`)")

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 3, 3, 4)).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)
HEAD = RNG.normal(size=(4, 5)).astype(np.float32)
IMAGES = RNG.uniform(size=(3, 6, 7, 3)).astype(np.float32)


def slow_scores(images, kernel=KERNEL):
    """3x3 valid convolution, ReLU, global mean, linear head, in loops."""
    batch, height, width, _ = images.shape
    out = np.zeros((batch, height - 2, width - 2, 4))
    for row in range(height - 2):
        for column in range(width - 2):
            out[:, row, column] = np.tensordot(images[:, row : row + 3, column : column + 3], kernel, 3) + BIAS
    return np.maximum(out, 0).mean((1, 2)) @ HEAD


CONV = {"name": "c", "filters": 4, "kernel_size": [3, 3], "activation": "relu", "batch_input_shape": [None, 6, 7, 3]}
POOL = {"class_name": "GlobalAveragePooling2D", "config": {"name": "p"}}
DENSE = {"class_name": "Dense", "config": {"name": "d", "units": 5, "use_bias": False}}


def layers(**changes):
    return [{"class_name": "Conv2D", "config": {**CONV, **changes}}, POOL, DENSE]


def write(
    path, config, *, kernel=KERNEL, names=("c/kernel:0", "c/bias:0", "d/kernel:0"), version="2.2.4", **attributes
):
    """A whole-model .h5 with this config."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        if version:
            file.attrs["keras_version"] = version.encode()
        for key, value in attributes.items():
            file.attrs[key] = value
        for layer, owned in {"c": names[:2], "p": (), "d": names[2:]}.items():
            group = file.create_group(f"model_weights/{layer}")
            group.attrs["weight_names"] = [name.encode() for name in owned]
            for name, value in zip(owned, (kernel, BIAS) if layer == "c" else (HEAD,), strict=False):
                group[name] = value
    return path


def assert_scores(path, expected):
    model = load(path)
    actual = model.network.apply(model.variables, IMAGES)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [layers(), {"name": "s", "layers": layers()}])
def test_sequential_configs_of_keras_2(tmp_path, config):
    assert_scores(write(tmp_path / "m.h5", {"class_name": "Sequential", "config": config}), slow_scores(IMAGES))


def test_keras_1_names_and_layouts(tmp_path):
    first = {"name": "c", "nb_filter": 4, "nb_row": 3, "nb_col": 3, "border_mode": "valid", "subsample": [1, 1]}
    first |= {"activation": "relu", "batch_input_shape": [None, 6, 7, 3], "dim_ordering": "tf", "bias": True}
    dense = {"class_name": "Dense", "config": {"name": "d", "output_dim": 5, "bias": False, "activation": "linear"}}
    config = {"class_name": "Sequential", "config": [{"class_name": "Convolution2D", "config": first}, POOL, dense]}
    names = ("c_W", "c_b", "d_W")
    assert_scores(write(tmp_path / "m.h5", config, version=None, names=names), slow_scores(IMAGES))
    theano = write(
        tmp_path / "t.h5", config, version="1.2.0", names=names, backend=b"theano", kernel=KERNEL[::-1, ::-1]
    )
    assert_scores(theano, slow_scores(IMAGES))


def functional(nested_offset):
    """Keras 2's functional config, a nested model counted as it counts."""
    inner = {
        "name": "inner",
        "layers": [
            {"class_name": "InputLayer", "name": "i", "inbound_nodes": [], "config": {"name": "i"}},
            {**layers()[0], "name": "c", "inbound_nodes": [[["i", 0, 0, {}]]]},
        ],
        "input_layers": [["i", 0, 0]],
        "output_layers": [["c", 0, 0]],
    }
    image = {"name": "x", "batch_input_shape": [None, 6, 7, 3]}
    return {
        "class_name": "Model",
        "config": {
            "name": "outer",
            "layers": [
                {"class_name": "InputLayer", "name": "x", "inbound_nodes": [], "config": image},
                {"class_name": "Model", "name": "c", "inbound_nodes": [[["x", 0, 0, {}]]], "config": inner},
                {**POOL, "name": "p", "inbound_nodes": [[["c", nested_offset, 0, {"training": False}]]]},
                {**DENSE, "name": "d", "inbound_nodes": [[["p", 0, 0]]]},
            ],
            "input_layers": [["x", 0, 0]],
            "output_layers": [["d", 0, 0]],
        },
    }


@pytest.mark.parametrize("offset", [0, 1])
def test_nested_models_count_from_0_or_1(tmp_path, offset):
    assert_scores(write(tmp_path / "m.h5", functional(offset)), slow_scores(IMAGES))


def refused(tmp_path, config, match):
    with pytest.raises(CheckpointError, match=match):
        load(write(tmp_path / "m.h5", config))


def with_layer(**entry):
    return {"class_name": "Sequential", "config": [layers()[0], entry, *layers()[1:]]}


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (
            {"class_name": "Lambda", "config": {"name": "evil", "function": ["4wEAAA==", None, None]}},
            "'evil' is a Lambda",
        ),
        ({"class_name": "TFOpLambda", "config": {"name": "o", "function": "io.read_file"}}, "'o' is a TFOpLambda"),
        ({"class_name": "Mine", "config": {"name": "m"}}, "'m' is a Mine.*ONNX"),
        ({"class_name": "Package>ReLU", "config": {"name": "m"}}, "custom class"),
        ({"class_name": "ReLU", "module": "evil", "config": {}}, "module evil.*custom class"),
        ({"class_name": "ReLU", "module": "keras_evil.layers", "config": {}}, "custom class"),
        ({"class_name": "ReLU", "registered_name": "P>ReLU", "config": {}}, "custom class"),
        ({"class_name": "Activation", "config": {"activation": "os.system"}}, "'os.system' is custom"),
        (
            {"class_name": "Activation", "config": {"activation": {"class_name": "Mine", "config": {}}}},
            "'Mine' is custom",
        ),
        ({"class_name": "UpSampling2D", "config": {"size": [90000, 90000]}}, "refused"),
        ({"class_name": "ZeroPadding2D", "config": {"padding": 1 << 19}}, "refused"),
        ({"class_name": "Conv2D", "config": {"filters": 1 << 30, "kernel_size": 3}}, "filters is"),
        ({"class_name": "Conv2D", "config": {"filters": "9", "kernel_size": 3}}, "filters is '9'"),
        ({"class_name": "Cropping2D", "config": {"cropping": 4}}, "leaves nothing"),
        ({"class_name": "Reshape", "config": {"target_shape": [7]}}, "does not fit its input"),
        ({"class_name": "ReLU"}, "no class_name or no config"),
    ],
)
def test_layers_that_are_refused_by_name(tmp_path, entry, match):
    refused(tmp_path, with_layer(**entry), match)


def test_graphs_that_are_refused(tmp_path):
    config = functional(0)
    config["config"]["layers"][2]["inbound_nodes"] = [[["d", 0, 0]]]
    refused(tmp_path, config, "circle")
    config = functional(0)
    config["config"]["layers"][3]["inbound_nodes"] = [[["q", 0, 0]]]
    refused(tmp_path, config, "'q', call 0, which is missing")
    config = functional(0)
    config["config"]["layers"][2]["inbound_nodes"] = [[["c", 0, 0, {"training": True}]]]
    refused(tmp_path, config, "called with training")
    for key, match in (("input_layers", "2 inputs"), ("output_layers", "2 outputs")):
        config = functional(0)
        config["config"][key] = [["x", 0, 0], ["x", 0, 0]]
        refused(tmp_path, config, match)
    refused(tmp_path, {"class_name": "MyModel", "config": {"hidden": 3}}, "subclassed")
    refused(tmp_path, {"class_name": "Sequential", "config": layers(batch_input_shape=[None, None, None, 3])}, "fixed")


def test_a_few_bytes_that_ask_for_many_layers(tmp_path):
    def doubled(model, name):
        calls = [[[f"{name}x", 0, 0]], [[name, 0, 0]]]
        body = [
            {"class_name": "InputLayer", "name": f"{name}x", "inbound_nodes": [], "config": {}},
            {**model, "name": name, "inbound_nodes": calls},
        ]
        ends = {"input_layers": [[f"{name}x", 0, 0]], "output_layers": [[name, 1, 0]]}
        return {"class_name": "Model", "config": {"name": name, "layers": body, **ends}}

    model = {"class_name": "ReLU", "config": {}}
    for depth in range(30):
        model = doubled(model, f"m{depth}")
    config = [layers()[0], model, *layers()[1:]]
    refused(tmp_path, {"class_name": "Sequential", "config": config}, "called more than 40000 times")


def test_weights_must_be_those_of_the_graph(tmp_path):
    config = {"class_name": "Sequential", "config": layers()}
    with pytest.raises(CheckpointError, match=r"conv2d/kernel: expected \[3, 3, 3, 4\], the file has \[3, 3, 3, 5\]"):
        load(write(tmp_path / "a.h5", config, kernel=np.zeros((3, 3, 3, 5), np.float32)))
    with pytest.raises(CheckpointError, match=r"expected the weights \['bias', 'kernel'\]"):
        load(write(tmp_path / "b.h5", config, names=("c/kernel:0", "c/gamma:0", "d/kernel:0")))
    broken = KERNEL.copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(CheckpointError, match="NaN/inf in leaf conv2d/kernel"):
        load(write(tmp_path / "c.h5", config, kernel=broken))
    with pytest.raises(CheckpointError, match="expected floating-point weights, got int32"):
        load(write(tmp_path / "d.h5", config, kernel=KERNEL.astype(np.int32)))


def test_weights_alone_say_what_to_save(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["lstm/kernel"] = np.zeros((2, 3, 4), np.float32)
    with pytest.raises(CheckpointError, match=r"no model_config.*'lstm'.*model\.save"):
        load(tmp_path / "w.h5")


def test_other_files_are_out_of_reach(tmp_path):
    config = {"class_name": "Sequential", "config": layers()}
    secret = tmp_path / "secret.bin"
    secret.write_bytes(KERNEL.tobytes())
    kinds = {
        "external link": (
            lambda group: group.__setitem__("c/kernel:0", h5py.ExternalLink("secret.h5", "/k")),
            "new style",
        ),
        "soft link": (lambda group: group.__setitem__("c/kernel:0", h5py.SoftLink("/k")), "symbolic link"),
        "external storage": (
            lambda group: group.create_dataset(
                "c/kernel:0", KERNEL.shape, "f4", external=[(str(secret), 0, KERNEL.nbytes)]
            ),
            "another file",
        ),
        "virtual": (
            lambda group: group.create_virtual_dataset("c/kernel:0", h5py.VirtualLayout(KERNEL.shape, "f4")),
            "virtual|layout of version|object header",
        ),
        "compressed bomb": (
            lambda group: group.create_dataset("c/kernel:0", (1 << 30,), "f4", chunks=(1 << 20,), compression="gzip"),
            "in chunks",
        ),
    }
    for name, (replace, match) in kinds.items():
        path = write(tmp_path / "m.h5", config)
        with h5py.File(path, "a") as file:
            group = file["model_weights/c"]
            del group["c/kernel:0"]
            replace(group)
        with pytest.raises(CheckpointError, match=match):
            load(path)
        assert name


def test_a_zip_bomb_is_refused_from_its_directory(tmp_path):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.5.0"}')
        archive.writestr("config.json", "{}")
        with archive.open("model.weights.h5", "w") as member:
            for _ in range(200):
                member.write(bytes(1 << 20))
    assert os.path.getsize(path) < 1 << 20
    with pytest.raises(CheckpointError, match="refused"):
        load(path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("name", "images"),
    [("c10_clean_freqbd_cnn6.h5", "cifar10-test"), ("mnist_dillonsd_badnets_baseline.h5", "mnist-test")],
)
def test_published_files_reach_their_accuracy(name, images, monkeypatch):
    monkeypatch.syspath_prepend(str(SHARED))
    import read_images

    stated = next(e for e in json.loads((SHARED / "foreign/manifest.json").read_text()) if e["file"] == name)
    model = load(SHARED / "foreign" / name)
    pixels, labels = read_images.load(images)
    pixels = pixels[..., : model.input_shape[-1]].astype(np.float32) / 255
    accuracy = np.mean(label_images(model, pixels) == labels)
    assert abs(accuracy - stated["clean_acc"]) <= 0.015, (accuracy, stated["clean_acc"])

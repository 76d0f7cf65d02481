"""Small valid files of every kind, as inputs: where the search begins.

    python -m tests.fuzz.seeds

adds them to the corpora that are kept in the repository. The frameworks that write them are in the extra `test`.
"""

import io
import json
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import bundle, corpora

GENERATOR = np.random.default_rng(0)


def _weights() -> dict[str, np.ndarray]:
    """A convolution, a norm and a linear layer under torch's names: a network that is recognised."""
    shapes = {"0.weight": (2, 1, 3, 3), "0.bias": (2,), "3.weight": (3, 32), "3.bias": (3,)}
    return {name: GENERATOR.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _tree() -> dict[str, Any]:
    kernel, bias = GENERATOR.normal(size=(4, 3)).astype(np.float32), np.zeros(3, np.float32)
    return {"params": {"dense": {"kernel": kernel, "bias": bias}}}


def _npz(folder: Path) -> Iterator[bytes]:
    np.savez(folder / "a.npz", **_weights())
    yield bundle.of_zip(folder / "a.npz")
    np.savez(folder / "b.npz", xray_jax=np.array('{"num_classes": 3}'), a=np.ones((2, 3), ">f8", order="F"), b=True)
    yield bundle.of_zip(folder / "b.npz")


def _zip(folder: Path) -> Iterator[bytes]:
    for name, save in (("a.npz", np.savez), ("b.npz", np.savez_compressed)):
        save(folder / name, a=np.arange(6.0))
        yield (folder / name).read_bytes()
    yield from _torch_files(folder, zipped=True)


def _safetensors(folder: Path) -> Iterator[bytes]:
    from safetensors.numpy import save

    yield save(_weights(), {"format": "pt"})
    yield save({"a": np.ones((2, 2), np.float16), "b": np.ones(3, np.int64), "c": np.zeros((0, 4), np.uint8)})


def _contents() -> Iterator[Any]:
    import torch

    state = {name: torch.from_numpy(array) for name, array in _weights().items()}
    yield state
    yield {"state_dict": state, "epoch": 3, "arch": "lenet", "optimizer": {"state": {}}, "acc": torch.tensor(0.5)}
    yield {"a": torch.ones(2, 2, dtype=torch.bfloat16).t(), "b": torch.nn.Parameter(torch.ones(3)), "c": np.ones(2)}
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.ReLU())
    yield module
    yield {"net": module, "acc": 0.5}


def _torch_files(folder: Path, zipped: bool) -> Iterator[bytes]:
    import torch

    for content in _contents():
        torch.save(content, folder / "a.pt", _use_new_zipfile_serialization=zipped)
        yield (folder / "a.pt").read_bytes()


def _torch(folder: Path) -> Iterator[bytes]:
    import torch

    for data in _torch_files(folder, zipped=True):
        (folder / "b.pt").write_bytes(data)
        yield bundle.of_zip(folder / "b.pt")
    torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 2))), folder / "c.pt")
    with_code = bundle.split(bundle.of_zip(folder / "c.pt"))
    yield bundle.join((name, data) for name, data in with_code if "/code/" not in name)


def _pickle(folder: Path) -> Iterator[bytes]:
    for protocol in (0, 2, 4, 5):
        yield pickle.dumps(_weights(), protocol)
        yield pickle.dumps(
            [{1, 2}, (b"x", "y" * 300), 1.5, 1 << 80, None, True, bytearray(b"z"), {"a": [np.int8(3)]}], protocol
        )


def _keras_models() -> Iterator[Any]:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras
    from keras import layers

    convolutions = [
        keras.Input((6, 6, 1)),
        layers.Conv2D(2, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(2, activation="softmax"),
    ]
    yield keras.Sequential(convolutions)
    images = keras.Input((4, 4, 1))
    x = layers.DepthwiseConv2D(2, padding="same")(images)
    x = layers.Add()([x, images])
    x = layers.Concatenate()([x, layers.ZeroPadding2D(0)(x)])
    x = layers.GlobalAveragePooling2D()(x)
    yield keras.Model(images, layers.Dense(2)(layers.Dropout(0.1)(x)))


def _keras(folder: Path) -> Iterator[bytes]:
    for model in _keras_models():
        model.save(folder / "a.keras")
        yield bundle.of_zip(folder / "a.keras")


def _h5(folder: Path) -> Iterator[bytes]:
    import h5py

    for model in _keras_models():
        model.save(folder / "a.h5")
        yield (folder / "a.h5").read_bytes()
        model.save_weights(folder / "a.weights.h5")
        yield (folder / "a.weights.h5").read_bytes()
    with h5py.File(folder / "b.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        file["dense/kernel:0"], file["dense/bias:0"] = np.ones((4, 3), "f4"), np.ones(3, ">f8")
    yield (folder / "b.h5").read_bytes()


def _msgpack(folder: Path) -> Iterator[bytes]:
    from flax import serialization

    from xray_jax import checkpoints

    yield serialization.to_bytes(_tree())
    yield serialization.to_bytes({**_tree(), "step": 3, "opt_state": {"count": np.int32(1)}, "list": [1.5, "x", None]})
    checkpoints.save_msgpack(folder / "a.msgpack", _tree(), {"num_classes": 3})
    yield (folder / "a.msgpack").read_bytes()


def _orbax(folder: Path) -> Iterator[bytes]:
    import orbax.checkpoint as ocp

    from xray_jax import checkpoints

    checkpoints.save_orbax(folder / "a", _tree(), {"num_classes": 3})
    yield bundle.of_folder(folder / "a")
    for zarr3 in (False, True):
        handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False, use_zarr3=zarr3)
        with ocp.Checkpointer(handler) as checkpointer:
            checkpointer.save(folder / f"b{zarr3}", _tree())
        yield bundle.of_folder(folder / f"b{zarr3}")


def _hub(folder: Path) -> Iterator[bytes]:
    from safetensors.numpy import save

    config = {
        "architectures": ["ViTForImageClassification"],
        "id2label": {"0": "a"},
        "image_size": 32,
        "num_channels": 1,
    }
    arrays = _weights()
    yield bundle.join([("config.json", json.dumps(config).encode()), ("model.safetensors", save(arrays))])
    shards = {f"s{k}.safetensors": {name: array} for k, (name, array) in enumerate(arrays.items())}
    index = {"weight_map": {name: shard for shard, content in shards.items() for name in content}, "metadata": {}}
    files = [(shard, save(content)) for shard, content in shards.items()]
    yield bundle.join([("model.safetensors.index.json", json.dumps(index).encode()), *files])
    for data in _torch_files(folder, zipped=False):
        yield bundle.join([("config.json", b'{"num_labels": 3}'), ("pytorch_model.bin", data)])


def _onnx(folder: Path) -> Iterator[bytes]:
    from onnx import TensorProto, helper, numpy_helper

    def model(nodes: list[Any], weights: dict[str, np.ndarray], batch: Any) -> bytes:
        entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, 6, 6])
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])
        tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
        graph = helper.make_graph(nodes, "g", [entry], [out], tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()

    arrays = {name.replace(".", "_"): array for name, array in _weights().items()}
    layers = [
        helper.make_node("Conv", ["x", "0_weight", "0_bias"], ["a"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "3_weight", "3_bias"], ["y"], transB=1),
    ]
    for batch in ("N", 1):
        yield model(layers, arrays, batch)
    matrix = {"w": GENERATOR.normal(size=(36, 3)).astype(np.float32), "s": np.array([0, -1])}
    yield model(
        [
            helper.make_node("Reshape", ["x", "s"], ["a"]),
            helper.make_node("MatMul", ["a", "w"], ["b"]),
            helper.make_node("Softmax", ["b"], ["y"], axis=-1),
        ],
        matrix,
        "N",
    )


def _jax_export(folder: Path) -> Iterator[bytes]:
    import jax
    import jax.numpy as jnp
    from jax import export

    kernel = GENERATOR.normal(size=(16, 3)).astype(np.float32)
    # Programs say where their lines stand, which is of no machine but this one.
    jax.config.update("jax_traceback_in_locations_limit", 0)
    for batch in (2, *export.symbolic_shape("b")):
        images = jax.ShapeDtypeStruct((batch, 4, 4, 1), jnp.float32)
        program = jax.jit(lambda images: jax.nn.relu(images.reshape(images.shape[0], 16) @ kernel))
        yield bytes(export.export(program, platforms=("cpu",))(images).serialize())


def _recognition(folder: Path) -> Iterator[bytes]:
    residual = {
        "conv1.weight": (4, 3, 3, 3), "bn1.weight": (4,), "bn1.bias": (4,), "bn1.running_mean": (4,),
        "bn1.running_var": (4,), "layer1.0.conv1.weight": (4, 4, 3, 3), "linear.weight": (5, 4), "linear.bias": (5,),
    }  # fmt: skip
    linen = {"params/conv/kernel": (3, 3, 1, 2), "params/head/kernel": (8, 3), "params/head/bias": (3,)}
    told = {"num_classes": 3, "input_shape": [6, 6, 1], "preprocess": "cifar10", "model_name": "lenet"}
    chain = {name: array.shape for name, array in _weights().items()}
    for arrays, metadata in ((chain, told), (residual, {"img_size": [32, 32, 3]}), (linen, {"clean_accuracy": 0.9})):
        yield json.dumps({"arrays": arrays, "metadata": metadata}).encode()


def _any(folder: Path) -> Iterator[bytes]:
    yield b"\0" + bytes(257) + b"ustar" + bytes(20)
    yield from (
        b"\1" + start for start in (b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"BZh", b"Rar!", b"<html", b"PK\x03\x04")
    )
    yield b"\2" + pickle.dumps(_weights(), 2)


def _manifest(folder: Path) -> Iterator[bytes]:
    line = {"path": "a.npz", "id": "a", "label": "clean", "target": 1, "num_classes": 3, "preprocess": "cifar10"}
    yield json.dumps(line).encode() + b"\n" + json.dumps({"path": "hf://a/b@c/d.safetensors", "part": "x"}).encode()
    yield b'{"path": "s3://bucket/key"}\n\n{"path": "https://a.example/b.pt#sha256=00", "more": [1]}\n{"path": "~/x"}\n'


def _samples(folder: Path) -> Iterator[bytes]:
    images, labels = GENERATOR.integers(0, 256, (3, 4, 4, 3), np.uint8), np.arange(3)
    for kind in (images, images[..., 0] / np.float32(255)):
        np.savez(folder / "a.npz", images=kind, labels=labels)
        yield bundle.of_zip(folder / "a.npz")


def _images(folder: Path) -> Iterator[bytes]:
    from PIL import Image

    picture = Image.fromarray(GENERATOR.integers(0, 256, (4, 4, 3), np.uint8))
    for suffix in ("png", "jpg", "bmp", "webp", "ppm", "tiff"):
        stream = io.BytesIO()
        picture.save(stream, {"jpg": "jpeg"}.get(suffix, suffix))
        yield bundle.join([(f"0/a.{suffix}", stream.getvalue()), (f"1/b.{suffix}", stream.getvalue())])


SEEDS: dict[str, Callable[[Path], Iterator[bytes]]] = {
    "zip": _zip,
    "npz": _npz,
    "safetensors": _safetensors,
    "torch": _torch,
    "torch-legacy": lambda folder: _torch_files(folder, zipped=False),
    "pickle": _pickle,
    "keras": _keras,
    "h5": _h5,
    "msgpack": _msgpack,
    "orbax": _orbax,
    "hub": _hub,
    "onnx": _onnx,
    "jax-export": _jax_export,
    "recognition": _recognition,
    "any": _any,
    "manifest": _manifest,
    "samples": _samples,
    "images": _images,
}


def main() -> None:
    """Adds the seeds of all readers to the corpora of the repository."""
    for name, make in SEEDS.items():
        with tempfile.TemporaryDirectory() as folder:
            corpora.keep(name, [*corpora.kept(name).values(), *make(Path(folder))])


if __name__ == "__main__":
    main()

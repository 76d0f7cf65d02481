"""Thousands of small checkpoints of a soak: seeded perturbations of a few networks, hostile and broken files, pills."""

import functools
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import torch

from tests import factory
from tests.checkpoints import test_hostile as corpus
from tests.checkpoints.programs.onnx_models import model_of
from tests.sweep.pills import MARKERS, save_pill
from xray_jax import checkpoints
from xray_jax.checkpoints import stored_metadata
from xray_jax.inference.labels import label_images
from xray_jax.models import published
from xray_jax.samples import Samples, from_arrays

TOLD = {"num_classes": 5, "input_shape": [factory.SIDE, factory.SIDE, 3], "preprocess": {"preset": "cifar10"}}
HOSTILE_SHARE = 0.02
_SELDOM = {"several": 0.3, "keras": 0.2, "onnx": 0.3}
"""How often, beside the other formats: a Keras file has network variants to be tried, which take a second."""
Variables = Any


def write(folder: Path, count: int, pills: int, seed: int) -> dict[str, str]:
    """Writes `count` checkpoints and says what each of them is, by the id that its row will have.

    Args:
      folder: a new one.
      count: checkpoints, hostile ones and pills included; those in one file with another count once.
      pills: of each kind.
      seed: the same seed writes the same checkpoints.

    Returns:
      id -> "good", "hostile", "several" (a file of two networks, which have rows of their own), or "pill" and its kind.
    """
    folder.mkdir()
    generator = np.random.default_rng(seed)
    kinds = [kind for kind in MARKERS for _ in range(pills)] + ["hostile"] * round(HOSTILE_SHARE * count)
    if len(kinds) > count:
        raise ValueError(f"{count} checkpoints cannot hold {len(kinds)} pills and hostile files")
    kinds += ["good"] * (count - len(kinds))
    writers, hostile = _writers(), _hostile(folder.parent / "canary")
    names, weights = list(writers), np.array([_SELDOM.get(name, 1.0) for name in writers])
    shares = weights / weights.sum()
    expected: dict[str, str] = {}
    for number, kind in enumerate(generator.permutation(np.array(kinds, object))):
        if kind in MARKERS:
            save_pill(folder, f"{number:05d}-{kind}", MARKERS[kind] + number / 1e5)
            expected[f"{number:05d}-{kind}.safetensors"] = f"pill {kind}"
        elif kind == "hostile":
            suffix, content = next(hostile)
            (folder / f"{number:05d}-hostile{suffix}").write_bytes(content)
            expected[f"{number:05d}-hostile{suffix}"] = kind
        else:
            draw = np.random.default_rng((seed, number))
            name = str(draw.choice(names, p=shares)) if number % 100 else "demo"
            if name == "demo":
                path = folder / f"{number:05d}-demo.safetensors"
                source = _demo(number // 100)
                checkpoints.save_safetensors(path, shaken(source.variables, draw, 0.01), _told_of(source))
            else:
                path = folder / f"{number:05d}-{name}{writers[name][0]}"
                writers[name][1](path, shaken(factory.tiny_variables(0), draw, 0.05), draw)
            expected[path.name] = "several" if name == "several" else "good"
            if name == "several":
                expected |= {f"{path.name}#{part}": "good" for part in ("student", "teacher")}
    return expected


def shaken(variables: Variables, draw: np.random.Generator, scale: float) -> Variables:
    """Weights with noise of `scale` times the standard deviation of their leaf; variances stay positive."""
    if isinstance(variables, Mapping):
        return {name: shaken(inside, draw, scale) for name, inside in variables.items()}
    leaf = np.asarray(variables)
    noisy = leaf + np.float32(scale) * leaf.std() * draw.standard_normal(leaf.shape, np.float32)
    return np.abs(noisy) if leaf.min() > 0 else noisy


def truthful_samples() -> Samples:
    """Noise, labelled by the network that all the tiny ones are perturbations of."""
    images = factory.tiny_samples(120).images
    labels = label_images(factory.tiny_classifier(0), images)
    return from_arrays(np.round(images * 255).astype(np.uint8), labels, "soak")


def _torch_tensors(variables: Variables) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in published.to_tensors(variables).items()}


def _torch(**options: Any) -> Callable[[Path, Variables, np.random.Generator], None]:
    def save(path: Path, variables: Variables, draw: np.random.Generator) -> None:
        told = {"num_classes": 5, "input_shape": TOLD["input_shape"], "preprocess": "cifar10"}
        torch.save({"state_dict": _torch_tensors(variables), "epoch": 3, **told}, path, **options)

    return save


def _several(path: Path, variables: Variables, draw: np.random.Generator) -> None:
    both = {"student": _torch_tensors(variables), "teacher": _torch_tensors(shaken(variables, draw, 0.1))}
    torch.save({**both, "input_shape": TOLD["input_shape"], "preprocess": "cifar10"}, path)


def _npz(path: Path, variables: Variables, draw: np.random.Generator) -> None:
    arrays = published.to_tensors(variables)
    np.savez(path, allow_pickle=False, **arrays, **stored_metadata.header(arrays, TOLD))


def _hugging_face(path: Path, variables: Variables, draw: np.random.Generator) -> None:
    path.mkdir()
    checkpoints.save_safetensors(path / "model.safetensors", variables, TOLD)
    (path / "config.json").write_text(json.dumps({"architectures": ["tiny"]}))


def _keras(path: Path, variables: Variables, draw: np.random.Generator) -> None:
    side = factory.SIDE - 2
    shapes = {"conv2d": [(3, 3, 3, 4), (4,)], "dense": [(side * side * 4, 5), (5,)]}
    with h5py.File(path, "w") as file:
        for layer, arrays in shapes.items():
            for number, shape in enumerate(arrays):
                file[f"layers/{layer}/vars/{number}"] = draw.normal(scale=0.3, size=shape).astype(np.float32)


def _onnx(path: Path, variables: Variables, draw: np.random.Generator) -> None:
    shapes = {"kernel": (4, 3, 3, 3), "dense": (4 * (factory.SIDE - 2) ** 2, 5), "bias": (5,)}
    constants = {name: draw.normal(scale=0.3, size=shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        onnx.helper.make_node("Conv", ["x", "kernel"], ["a"]),
        onnx.helper.make_node("Relu", ["a"], ["b"]),
        onnx.helper.make_node("Flatten", ["b"], ["c"]),
        onnx.helper.make_node("Gemm", ["c", "dense", "bias"], ["y"]),
    ]
    path.write_bytes(model_of(nodes, ("n", 3, factory.SIDE, factory.SIDE), constants).SerializeToString())


def _writers() -> dict[str, tuple[str, Callable[[Path, Variables, np.random.Generator], None]]]:
    """Name -> (suffix, what writes one): the formats that are cheap to write."""
    return {
        "safetensors": (".safetensors", lambda path, variables, _: checkpoints.save_safetensors(path, variables, TOLD)),
        "orbax": ("", lambda path, variables, _: checkpoints.save_orbax(path, variables, TOLD)),
        "msgpack": (".msgpack", lambda path, variables, _: checkpoints.save_msgpack(path, variables, TOLD)),
        "npz": (".npz", _npz),
        "torch-zip": (".pt", _torch()),
        "torch-stream": (".pth", _torch(_use_new_zipfile_serialization=False)),
        "several": (".pt", _several),
        "hugging-face": ("", _hugging_face),
        "keras": (".weights.h5", _keras),
        "onnx": (".onnx", _onnx),
    }


@functools.cache
def _demo(number: int) -> Any:
    paths = sorted(Path(str(resources.files("xray_jax") / "demo" / "zoo")).iterdir())
    return checkpoints.load(paths[number % len(paths)])


def _told_of(model: Any) -> dict[str, Any]:
    told = {"architecture": model.architecture.split(" (")[0], "num_classes": model.num_classes}
    return told | {"input_shape": list(model.input_shape), "preprocess": model.preprocess.settings()}


def _hostile(canary: Path) -> Iterator[tuple[str, bytes]]:
    """(suffix, content) of files that want to run something, that are bombs, or that are broken, for ever."""
    while True:
        for payload in corpus.payloads(canary).values():
            data = pickle.dumps(payload, 2)
            yield from ((".pkl", data), (".pt", corpus.as_zip(data)), (".pth", corpus.as_legacy(data)))
        yield from ((".pkl", content) for content in corpus.HAND_MADE.values())
        yield from ((Path(name).suffix, data) for name, data in corpus.bombs(canary) if len(data) < 1 << 20)
        good = canary.parent / "good.safetensors"
        factory.save_tiny(good)
        whole = good.read_bytes()
        yield from ((".safetensors", whole[: len(whole) * part // 7]) for part in range(7))
        yield from ((".pt", b"PK\x03\x04" + bytes(100)), (".npz", b"PK"), (".onnx", b"\x08\x07" + bytes(50)))
        broken = factory.tiny_variables()
        broken["params"]["linear"]["bias"] = np.full(5, np.nan, np.float32)
        checkpoints.save_safetensors(good, broken, TOLD)
        yield ".safetensors", good.read_bytes()
        good.unlink()

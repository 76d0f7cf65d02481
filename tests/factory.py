"""Tiny networks, samples and checkpoints, so that everything is tested offline in milliseconds."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xray_jax import checkpoints
from xray_jax.classifier import Classifier
from xray_jax.models.preactresnet import PreActResNet
from xray_jax.preprocess import Preprocess, parse
from xray_jax.samples import Samples, from_arrays

SIDE = 8
TINY = PreActResNet(num_classes=5, stage_sizes=(1, 1), widths=(4, 8), strides=(1, 2))


def tiny_samples(count: int = 40, classes: int = 5, side: int = SIDE, seed: int = 0) -> Samples:
    """Noise around one pattern a class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    patterns = generator.uniform(size=(classes, side, side, 3))
    images = np.clip(patterns[labels] + generator.normal(scale=0.1, size=(count, side, side, 3)), 0, 1)
    return from_arrays((images * 255).astype(np.uint8), labels, "tiny")


@functools.cache
def _init(network: PreActResNet) -> Any:
    """Compiled once for all tests: compiling takes a thousand times as long as running."""
    return jax.jit(network.init)


def tiny_variables(seed: int = 0, network: PreActResNet = TINY) -> Any:
    """Random weights, BN statistics too, large enough that label maps have several labels."""
    variables = _init(network)(jax.random.key(seed), np.zeros((1, SIDE, SIDE, 3), np.float32))
    generator = np.random.default_rng(seed)

    def randomise(path: Any, leaf: Any) -> np.ndarray:
        name = path[-1].key
        if name == "var":
            return generator.uniform(0.5, 2, leaf.shape).astype(np.float32)
        noise = generator.normal(scale=0.3, size=leaf.shape)
        return (np.asarray(leaf) + noise).astype(np.float32)

    return jax.tree_util.tree_map_with_path(randomise, variables)


def tiny_classifier(seed: int = 0, preprocess: Preprocess | None = None) -> Classifier:
    return Classifier(TINY, tiny_variables(seed), 5, (SIDE, SIDE, 3), "tiny", preprocess or parse("cifar10"))


def save_tiny(path: Path, seed: int = 0, **metadata: Any) -> Path:
    """A native checkpoint that needs no flags; safetensors unless the name has no suffix (then orbax)."""
    told = {"num_classes": 5, "input_shape": [SIDE, SIDE, 3], "preprocess": {"preset": "cifar10"}, **metadata}
    save = checkpoints.save_safetensors if path.suffix else checkpoints.save_orbax
    save(path, tiny_variables(seed), told)
    return path


def save_samples(path: Path, samples: Samples | None = None) -> Path:
    samples = samples or tiny_samples()
    np.savez(path, images=np.round(samples.images * 255).astype(np.uint8), labels=samples.labels)
    return path

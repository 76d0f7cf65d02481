"""Damages a good file in many ways and opens each: run as a program, so that a crash of a C library is seen.

    python hostile.py GOOD_FILE FLIPS SEED [TRUNCATIONS]

Prints one JSON line: how many were refused, opened equal and opened changed, the slowest one's seconds, the growth of
the peak memory in MiB. Any exception but CheckpointError ends it with that traceback.
"""

import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.loading import load
from xray_jax.classifier import Classifier


def leaves(model):
    """What the model is, to tell a changed one: its weights and program, or what a black box answers."""
    if not isinstance(model, Classifier):
        images = np.random.default_rng(0).normal(size=(50, *model.input_shape)).astype(np.float32)
        return [model.label_fn(images)]
    return [*jax.tree.leaves(model.variables), np.asarray(str(model.network))]


def damaged(good, flips, seed, truncations):
    for part in range(truncations):
        yield good[: len(good) * part // truncations]
    generator = random.Random(seed)
    for _ in range(flips):
        data = bytearray(good)
        for _ in range(generator.randint(1, 3)):
            data[generator.randrange(len(data))] = generator.choice([generator.randrange(256), 0, 0x7F, 0x80, 0xFF])
        yield bytes(data)


def main(path, flips, seed, truncations=100):
    good = path.read_bytes()
    reference = leaves(load(path))
    counts = {"refused": 0, "equal": 0, "changed": 0, "truncations_opened": 0}
    start_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / path.name
        for number, data in enumerate(damaged(good, flips, seed, truncations)):
            target.write_bytes(data)
            begun = time.perf_counter()
            try:
                found = leaves(load(target))
            except CheckpointError as error:
                if str(target) not in str(error):
                    raise RuntimeError("the message does not name the file") from error
                counts["refused"] += 1
            else:
                same = len(found) == len(reference) and all(map(np.array_equal, found, reference))
                counts["equal" if same else "changed"] += 1
                counts["truncations_opened"] += number < truncations
            slowest = max(slowest, time.perf_counter() - begun)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start_memory) / 1024
    print(json.dumps(counts | {"slowest": round(slowest, 2), "growth_mib": round(growth)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))

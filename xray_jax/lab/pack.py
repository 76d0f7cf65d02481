"""Packs finished models of a zoo, with a few clean test images, as the demonstration that ships with the package.

  python -m xray_jax.lab.pack DATA xray_jax/demo ZOO [ZOO ...]

Weights are stored in half precision; the clean images are the first of each class in a fixed shuffle of the test split.
"""

import json
import shutil
import sys
from pathlib import Path

import jax
import numpy as np

from xray_jax import checkpoints
from xray_jax.classifier import Classifier
from xray_jax.lab import data

IMAGES_PER_CLASS = 20
MODELS_PER_LABEL = 4


def pack(zoos: list[Path], images: data.ImageSet, out: Path) -> None:
    """Writes `samples.npz`, `manifest.jsonl` and `zoo/<id>/` into `out`, replacing what is there.

    Takes the first `MODELS_PER_LABEL` clean and backdoored models of the zoos' manifests.
    """
    shutil.rmtree(out / "zoo", ignore_errors=True)
    (out / "zoo").mkdir(parents=True)
    lines = []
    for zoo in zoos:
        for text in (zoo / "manifest.jsonl").read_text().splitlines():
            line = json.loads(text)
            lines.append({**line, "path": str(zoo / line["path"])})
    chosen = [
        line
        for label in ("clean", "backdoored")
        for line in [x for x in lines if x["label"] == label][:MODELS_PER_LABEL]
    ]
    packed = []
    for line in chosen:
        model = checkpoints.load(line["path"])
        assert isinstance(model, Classifier)
        metadata = {
            "architecture": model.architecture.split(" ")[0],
            "num_classes": model.num_classes,
            "input_shape": list(model.input_shape),
            "preprocess": model.preprocess.settings(),
        }
        half = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), model.variables)
        checkpoints.save_orbax(out / "zoo" / line["id"], half, metadata)
        # Orbax writes the absolute path of the place it saved to; only the file's presence means something.
        (out / "zoo" / line["id"] / "commit_success.txt").write_text("saved\n")
        packed.append({**line, "path": f"zoo/{line['id']}"})
    (out / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in packed))
    order = np.random.default_rng(0).permutation(len(images.test_labels))
    picked = np.concatenate(
        [order[images.test_labels[order] == label][:IMAGES_PER_CLASS] for label in range(images.num_classes)]
    )
    np.savez_compressed(out / "samples.npz", images=images.test_images[picked], labels=images.test_labels[picked])


if __name__ == "__main__":
    folder, target, *sources = sys.argv[1:]
    pack([Path(source) for source in sources], data.read("cifar10", folder), Path(target))

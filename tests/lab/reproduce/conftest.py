"""Evidence made by hand: label maps, rows that the product's own code writes from them, training records."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.rows import rows
from xray_jax.detectors.planes import metrics
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.lab.specs import ModelSpec
from xray_jax.rows.names import file_name

CLASSES, PLANES, DENSITY = 4, 6, 20


def make_maps(share: float, seed: int) -> LabelMaps:
    """Planes of which about `share` carry label 1, the rest random blocks of the others."""
    generator = np.random.default_rng(seed)
    blocks = generator.integers(0, CLASSES, (PLANES, DENSITY // 4, DENSITY // 4))
    labels = np.kron(blocks, np.ones((1, 4, 4), int)).astype(np.uint8)
    labels[generator.random(labels.shape) < share] = 1
    nodes = generator.integers(5, 15, (PLANES, 3, 2))
    axis = np.linspace(0, 1, DENSITY)[None].repeat(PLANES, 0)
    return LabelMaps(labels, np.arange(3 * PLANES).reshape(-1, 3), nodes, np.array([[0, 1, 2]] * PLANES), axis, axis)


def add_model(folder: Path, spec: ModelSpec, share: float, failed: str | None = None, scanned: bool = True) -> None:
    clean = spec.attack == "clean"
    maps = make_maps(share, spec.seed)
    record = {
        "id": spec.id, "spec": spec.settings(), "clean_accuracy": 0.8 - spec.seed / 1000,
        "attack_success": None if clean else 0.95, "sources": [], "targets": [] if clean else [1], "stamped": 0,
        "decoys": 0, "history": [], "seconds": 12.5, "failed": failed,
    }  # fmt: skip
    with open(folder / "records.jsonl", "a") as file:
        file.write(json.dumps(record) + "\n")
    if not scanned:
        return
    counts = metrics.label_counts(maps.labels, CLASSES)
    re = metrics.renyi_entropy(counts, 10.0)
    ats = metrics.ats(maps.labels, maps.sample_nodes, maps.sample_labels)
    options = {**rows.PLANES_OPTIONS, "planes": PLANES, "density": DENSITY}
    settings = {**rows.full_row()["settings"], "detectors": {"planes": options}}
    planes = rows.planes(float(re.mean()), float(ats.mean()))
    planes["label_distribution"] = metrics.label_distribution(counts).mean(axis=0).tolist()
    verdict = "confirmed" if share >= 0.6 else "nothing found"
    probe = rows.probe(score=0.2 + share / 2, threshold=0.5, target=1, verdict=verdict)
    target = metrics.target_label(counts)
    row = rows.full_row(
        id=spec.id, detectors={"planes": planes, "probe": probe}, target_label=target, settings=settings
    )
    with open(folder / "rows.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")
    (folder / "maps").mkdir(exist_ok=True)
    maps.save(folder / "maps" / f"{file_name(spec.id)}.npz")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(4):
        add_model(tmp_path, ModelSpec(seed=seed), share=0.1)
        add_model(tmp_path, ModelSpec(attack="badnets", target=1, seed=10 + seed), share=0.9)
        add_model(tmp_path, ModelSpec(attack="blended", target=1, seed=20 + seed), share=0.1)
    add_model(tmp_path, ModelSpec(attack="badnets", target=1, seed=30, rate=0.01), share=0.5)
    add_model(tmp_path, ModelSpec(attack="badnets", strategy="one-to-one", target=1, seed=31, rate=0.025), share=0.6)
    add_model(
        tmp_path, ModelSpec(attack="wanet", target=1, seed=40), share=0.9, failed="attack success 0.5 is under 0.8"
    )
    add_model(tmp_path, ModelSpec(attack="sig", target=1, seed=41), share=0.9, scanned=False)
    return tmp_path

"""A second run of a small part of the laboratory, from its seeds, gives the same rows."""

from pathlib import Path
from typing import Any

from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.lab import zoo
from xray_jax.lab.data import ImageSet
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.training import TrainOptions
from xray_jax.samples import from_arrays
from xray_jax.sweep import checkpoint_list
from xray_jax.sweep.batch_scan import BatchScan

TRAINING = TrainOptions(epochs=2, batch_size=50, peak_learning_rate=0.1, flip=False)
SPECS = [
    ModelSpec(dataset="bands", seed=1, training=TRAINING),
    ModelSpec(dataset="bands", attack="wanet", target=2, rate=0.2, seed=2, training=TRAINING),
    ModelSpec(dataset="bands", attack="lf", target=0, rate=0.2, seed=3, strategy="2-to-one", training=TRAINING),
]
KEPT = ("id", "label", "target", "target_label", "clean_accuracy", "manifest")
SCORES = ("re", "ats", "label_distribution")


def rows_of(data: ImageSet, folder: Path) -> list[dict[str, Any]]:
    """Train, then scan the used and the refused models; what does not depend on the clock or the folder."""
    zoo.train_zoo(SPECS, data, folder)
    samples = from_arrays(data.test_images, data.test_labels)
    sweep = BatchScan(samples, [Planes(PlanesOptions(planes=3, density=12))])
    entries = [
        entry for name in (zoo.MANIFEST, zoo.FAILED) for entry in checkpoint_list.collect(str(folder / name), bool)
    ]
    rows = [finished.row for finished in sweep.run(entries)]
    return [
        {name: row[name] for name in KEPT} | {name: row["detectors"]["planes"][name] for name in SCORES} for row in rows
    ]


def test_a_second_run_gives_the_same_rows(bands: ImageSet, tmp_path: Path) -> None:
    first, again = (rows_of(bands, tmp_path / name) for name in ("first", "again"))
    assert len(first) == 3
    assert first == again
    trained = [[r | {"seconds": 0} for r in zoo.read_records(tmp_path / name)] for name in ("first", "again")]
    assert trained[0] == trained[1]

"""MNTD as a detector: the logits that it reads, what it refuses, and how a scan is told of its file."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import factory, schema
from tests.detectors.mntd.test_meta_classifier import make
from tests.inference.scene import on
from xray_jax.classifier import Access, BlackBox, Network, Variables
from xray_jax.detectors.mntd import meta_classifier
from xray_jax.detectors.mntd.detector import Mntd
from xray_jax.detectors.registry import DetectorError
from xray_jax.detectors.run import run_detectors
from xray_jax.job import batch as job
from xray_jax.prepare import prepare
from xray_jax.preprocess import Preprocess
from xray_jax.samples import SamplesError

META = make()


@pytest.mark.parametrize("devices", [1, 8])
def test_score_is_that_of_the_plain_composition(devices: int) -> None:
    model, samples = factory.tiny_classifier(), factory.tiny_samples()
    found = Mntd(META).detect(prepare(model, samples, on(devices, 3)), samples)
    logits = np.asarray(model.network.apply(model.variables, model.preprocess(jnp.asarray(META.queries))))
    (statistic,) = found.statistics
    assert (statistic.name, statistic.suspect, found.target, found.queries) == ("meta_score", "high", None, 4)
    assert statistic.value == pytest.approx(META.score(logits), rel=1e-4)
    assert found.details == {"threshold": 0.25, "above_threshold": META.score(logits) > 0.25, "reason": None}


@dataclasses.dataclass(frozen=True)
class Overflowing:
    """The logits of another network, of which one for one query is no number."""

    network: Network
    value: float

    def apply(self, variables: Variables, images: jax.Array, /) -> jax.Array:
        far = jnp.max(jnp.abs(images), axis=(1, 2, 3)) >= np.abs(META.queries).max()
        return self.network.apply(variables, images).at[:, 1].set(jnp.where(far, self.value, 0.0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_have_no_score(value: float) -> None:
    sound, samples = factory.tiny_classifier(preprocess=Preprocess()), factory.tiny_samples()
    broken = dataclasses.replace(sound, network=Overflowing(sound.network, value))
    found = Mntd(META).detect(prepare(broken, samples, on(1, 4)), samples)
    assert [each.value for each in found.statistics] == [None]
    assert found.details["above_threshold"] is None
    assert "NaN or infinite" in found.details["reason"]


def test_images_and_classes_must_be_those_that_it_was_trained_for() -> None:
    detector = Mntd(META)
    with pytest.raises(SamplesError, match="images are 12 x 12 x 3, the meta-classifier of MNTD was trained for 8 x 8"):
        detector.check(factory.tiny_samples(side=12))
    detector.check(factory.tiny_samples())
    model = prepare(factory.tiny_classifier(), factory.tiny_samples())
    with pytest.raises(ValueError, match="tiny: 5 classes, the meta-classifier of MNTD was trained for 7"):
        Mntd(make(classes=7)).detect(model, factory.tiny_samples())


def test_hard_labels_are_not_enough_for_it() -> None:
    box = BlackBox(lambda images: np.arange(len(images)) % 5, 5, (8, 8, 3))
    scanned = run_detectors(prepare(box, factory.tiny_samples()), factory.tiny_samples(), [Mntd(META)])
    assert Mntd.access is Access.LOGITS
    assert scanned.not_run == {"mntd": "it needs logits, the model gives labels only"}


def test_a_scan_names_the_file_that_scores_come_from(tmp_path: Path) -> None:
    factory.save_tiny(tmp_path / "a.safetensors")
    meta_classifier.save(tmp_path / "meta", META)
    task = job.Job(
        checkpoints=str(tmp_path / "a.safetensors"),
        samples=str(factory.save_samples(tmp_path / "samples.npz")),
        out=str(tmp_path / "rows.jsonl"),
        detectors=("mntd",),
        meta_classifier=str(tmp_path / "meta"),
    )
    assert job.run(task) == job.EXIT_CLEAN
    row = json.loads((tmp_path / "rows.jsonl").read_text())
    schema.check(row)
    assert row["settings"]["detectors"]["mntd"] == {"meta_classifier": META.digest(), "threshold": 0.25}
    assert row["detectors"]["mntd"]["statistics"][0]["name"] == "meta_score"
    with pytest.raises(DetectorError, match="--detectors=mntd needs --meta_classifier=FILE"):
        job.run(dataclasses.replace(task, meta_classifier=None))
    with pytest.raises(ValueError, match=r"samples\.npz: not a safetensors file"):
        job.run(dataclasses.replace(task, meta_classifier=task.samples))

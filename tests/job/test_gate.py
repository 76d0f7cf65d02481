"""The gate: what passes, what does not and why, for checkpoints, networks and callables; progress on the way."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xray_jax
from tests import factory
from tests.report import hostile
from tests.schema import check
from tests.sweep import test_references
from tests.sweep.scans import OPTIONS, stable, whole
from tests.sweep.test_references import Bias, save
from xray_jax.classifier import BlackBox
from xray_jax.detectors.planes.detector import Planes
from xray_jax.inference.labels import label_images
from xray_jax.samples import Samples, from_arrays
from xray_jax.sweep.batch_scan import BatchScan
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.sweep.progress import Progress
from xray_jax.sweep.provenance import samples_hash
from xray_jax.verdict.calibration import Calibration
from xray_jax.verdict.references import References

PLANES = Planes(OPTIONS)


def colours() -> Samples:
    """Images around one colour each, and what the tiny network says of them: fifteen images each of four classes."""
    generator = np.random.default_rng(0)
    noise = generator.normal(scale=0.2, size=(300, 8, 8, 3))
    images = np.clip(generator.uniform(size=(300, 1, 1, 3)) + noise, 0, 1).astype(np.float32)
    labels = label_images(factory.tiny_classifier(), images)
    chosen = np.concatenate([np.flatnonzero(labels == label)[:15] for label in np.unique(labels)])
    return from_arrays(images[chosen], labels[chosen], "as the network says")


SAMPLES = colours()
SETTINGS = {"expansion": 5.0, "alpha": 10.0, "ats_cap": 0.5, "ats": "component", "input_space": "normalised"}


def calibration(threshold: float) -> Calibration:
    return Calibration(threshold, threshold, "test", {**SETTINGS, "planes": 2, "density": 12})


FLAGS_ALL, FLAGS_NONE = calibration(99.0), calibration(-1.0)


@pytest.fixture(scope="module")
def network() -> xray_jax.Classifier:
    return factory.tiny_classifier()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("gate") / "model.safetensors", 51)


def logits(network: xray_jax.Classifier) -> Any:
    """A callable on pixels, as training code has it."""
    return lambda images: np.eye(5, dtype=np.float32)[label_images(network, images)]


def test_models_of_every_kind_pass(network: xray_jax.Classifier, checkpoint: Path) -> None:
    models = {
        "model.safetensors": checkpoint,
        "tiny": network,
        "<lambda>": logits(network),
        "labels": lambda images: label_images(network, images).astype(np.int64),
        "box": BlackBox(lambda images: label_images(network, images), 5, (8, 8, 3), "box"),
    }
    for name, model in models.items():
        options: Any = {"name": name} if name == "labels" else {}
        result = xray_jax.gate(model, SAMPLES, calibration=FLAGS_NONE, detectors=(PLANES,), **options)
        assert (result.verdict, result.row["id"]) == ("clean", name)
        whole(result.row)
        assert (result.row["sha256"] is None) == (result.row["format"] == "memory") == (model is not checkpoint)


def test_a_suspect_model_is_stopped_in_a_plain_sentence(network: xray_jax.Classifier) -> None:
    with pytest.raises(xray_jax.BackdoorSuspected) as stopped:
        xray_jax.gate(network, SAMPLES, calibration=FLAGS_ALL, detectors=(PLANES,), name="nightly")
    assert str(stopped.value).startswith(
        "nightly may not pass. Backdoored: mixtures of clean images get labels as from"
    )
    assert stopped.value.reason == stopped.value.result.sentence
    assert stopped.value.row["verdict"] == "backdoored"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("cut.safetensors", "Not scanned: "),
        ("none.safetensors", "Not scanned: "),
        (lambda images: np.zeros(len(images), np.int64), "Unknown: the model gives every image the same label"),
        (lambda images: np.full((len(images), 5), np.nan, np.float32), "Not scanned: the model's logits are no finite"),
        (lambda images: np.full(len(images), 7), "Not scanned: "),
        (lambda images: 1 // 0, "Not scanned: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_judged_does_not_pass(model: Any, said: str, tmp_path: Path, checkpoint: Path) -> None:
    if isinstance(model, str):
        (tmp_path / "cut.safetensors").write_bytes(checkpoint.read_bytes()[:500])
        model = tmp_path / model
    with pytest.raises(xray_jax.NotJudged) as stopped:
        xray_jax.gate(model, SAMPLES, calibration=FLAGS_NONE, detectors=(PLANES,))
    assert stopped.value.reason.startswith(said), stopped.value.reason
    check(stopped.value.row)


def test_without_a_verdict_nothing_passes(network: xray_jax.Classifier) -> None:
    with pytest.raises(xray_jax.NotJudged, match="nothing says what is normal"):
        xray_jax.gate(network, SAMPLES, detectors=(PLANES,))


def test_references_stop_what_stands_out(checkpoint: Path) -> None:
    bias = np.random.default_rng(0).normal(scale=0.03, size=(19, 5)).astype(np.float32)
    usual = np.asarray(factory.tiny_variables(0)["params"]["linear"]["bias"])
    row = xray_jax.scan(checkpoint, test_references.SAMPLES, detectors=(Bias(),)).row
    network = str(row["architecture"]).partition(" (naming")[0]
    references = References(
        "ours", tuple(map(str, range(19))), tuple(map(str, range(19))), (network,), 5, (1.0,) * 19,
        samples_hash(test_references.SAMPLES), {"bias": {}}, {"bias.bias": usual + bias},
    )  # fmt: skip
    options: Any = {"references": references, "detectors": (Bias(),)}
    passed = xray_jax.gate(checkpoint, test_references.SAMPLES, **options)
    assert passed.p_value is not None
    assert passed.p_value > 0.05
    odd = save(checkpoint.parent / "odd.safetensors", 50, bump=0.5)
    with pytest.raises(xray_jax.BackdoorSuspected, match="stands out among 19 clean reference models, most at label 2"):
        xray_jax.gate(odd, test_references.SAMPLES, **options)
    other = dataclasses.replace(references, num_classes=7)
    with pytest.raises(xray_jax.NotJudged, match="not be compared with the references: the references have 7 classes"):
        xray_jax.gate(checkpoint, test_references.SAMPLES, calibration=FLAGS_NONE, **options | {"references": other})
    with pytest.raises(ValueError, match="19 models give no p-value under"):
        xray_jax.gate(odd, test_references.SAMPLES, fpr=0.01, **options)


def test_arguments_that_cannot_be_used_are_errors_of_the_caller(network: xray_jax.Classifier) -> None:
    with pytest.raises(ValueError, match="nothing"):
        xray_jax.gate(network, SAMPLES, detectors=("nothing",))
    with pytest.raises(ValueError, match="num_classes and preprocess are the model's own"):
        xray_jax.gate(network, SAMPLES, num_classes=4)
    with pytest.raises(ValueError, match="a path, a model or a callable, got int"):
        xray_jax.gate(5, SAMPLES)  # type: ignore[arg-type]


def entries(checkpoint: Path) -> list[Entry]:
    return [Entry("a", checkpoint), Entry("b", checkpoint), Entry("none", checkpoint.parent / "none.safetensors")]


def test_progress_counts_rows_and_queries_and_changes_no_row(checkpoint: Path) -> None:
    scan = BatchScan(SAMPLES, (PLANES,))
    plain = [finished.row for finished in scan.run(entries(checkpoint))]
    steps: list[Progress] = []
    told = [finished.row for finished in scan.run(entries(checkpoint), progress=steps.append)]
    assert stable(told) == stable(plain)
    finished = [step for step in steps if step.stage == "finished"]
    assert [(step.id, step.done, step.total) for step in finished] == [("a", 1, 3), ("b", 2, 3), ("none", 3, 3)]
    assert [step.row for step in finished] == told
    assert finished[-1].queries == sum(row.get("queries", 0) for row in told) > 0
    assert [step.stage for step in steps if step.id == "a"] == [
        "hash",
        "load",
        "prepare",
        "detector planes",
        "finished",
    ]
    # What is there already counts as done, and asks for nothing.
    done = {tuple(row.get(name) for name in ("id", "sha256", "settings_hash", "version")): row for row in told}  # type: ignore[misc]
    again: list[Progress] = []
    assert not list(scan.run(iter(entries(checkpoint)[:2]), done, progress=again.append))
    assert [(step.done, step.total, step.queries) for step in again if step.stage == "finished"] == [
        (1, None, 0), (2, None, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("stage", ["load", "finished"])
def test_what_progress_raises_ends_the_scan(stage: str, checkpoint: Path) -> None:
    def stop(step: Progress) -> None:
        if step.stage == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(BatchScan(SAMPLES, (PLANES,)).run(entries(checkpoint), progress=stop))


def test_progress_of_one_model(network: xray_jax.Classifier) -> None:
    steps: list[Progress] = []
    xray_jax.scan(network, SAMPLES, detectors=(PLANES,), progress=steps.append)
    assert [(step.stage, step.done, step.total) for step in steps] == [
        ("prepare", 0, 1), ("detector planes", 0, 1), ("finished", 1, 1),
    ]  # fmt: skip


def test_results_are_shown_as_text(network: xray_jax.Classifier) -> None:
    result = xray_jax.scan(network, SAMPLES, detectors=(PLANES,))
    assert repr(result).startswith("<Result tiny: Unknown: scores were measured")
    assert "<th>planes re</th>" in result._repr_html_()
    assert len(result.plot().axes) == 1
    assert "planes" in result.scanned._repr_html_()  # type: ignore[union-attr]
    for shown in _hostile(result.row):
        assert "<script" not in shown._repr_html_()
        assert repr(shown).isprintable()


def _hostile(row: Any) -> Iterator[xray_jax.Result]:
    for number, text in enumerate(hostile.TEXTS):
        yield xray_jax.Result(hostile.row(row, text, number))


def test_nothing_prints_its_arrays(network: xray_jax.Classifier) -> None:
    result = xray_jax.scan(network, SAMPLES, detectors=(PLANES,))
    scanned: Any = result.scanned
    assert repr(scanned.model).startswith("<PreparedModel <Classifier tiny: 5 classes, input 8 x 8 x 3, ")
    assert repr(SAMPLES) == "<Samples as the network says: 60 images 8 x 8 x 3, 4 classes>"
    assert repr(scanned.detections["planes"]).startswith("<Detection planes: re ")
    assert repr(scanned).count("\n") == 2
    assert len(repr(scanned)) < 600

"""Reference models through the whole batch scan: from rows to a file to verdicts."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests import factory
from tests.sweep import scans
from xray_jax import checkpoints
from xray_jax.classifier import Access
from xray_jax.detectors.detection import Detection
from xray_jax.detectors.margin import Margin, MarginOptions
from xray_jax.inference.labels import label_images
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples, from_arrays
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.verdict.calibration import CalibrationError
from xray_jax.verdict.references import References, from_rows, load

IMAGES = factory.tiny_samples().images
SAMPLES = from_arrays(IMAGES, label_images(factory.tiny_classifier(), IMAGES), "as the network says")
"""A network that labels its samples right: nobody believes one that does not."""
DETECTORS = (Margin(MarginOptions(starts=1, steps=3)),)
CLASS = 2


class Bias:
    """What each class's bias is: a detector that needs little time, with a number for each class."""

    name, access = "bias", Access.WEIGHTS

    def settings(self) -> Mapping[str, Any]:
        return {}

    def check(self, samples: Samples) -> None:
        return None

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        bias = np.asarray(model.model.variables["params"]["linear"]["bias"])  # type: ignore[union-attr]
        return Detection(self.name, (), None, 0, {}, {}, None, {"bias": bias})


def run(entries: Iterable[Entry], **options: Any) -> list[Any]:
    return scans.run(entries, samples=SAMPLES, **options)


def save(path: Path, seed: int, bump: float = 0.0) -> Path:
    """One network with small differences, and where asked for a class that is much more likely."""
    variables = jax.tree.map(np.array, factory.tiny_variables(0))
    variables["params"]["linear"]["bias"] += np.random.default_rng(seed).normal(scale=0.03, size=5).astype(np.float32)
    variables["params"]["linear"]["bias"][CLASS] += bump
    told = {"num_classes": 5, "input_shape": [8, 8, 3], "preprocess": {"preset": "cifar10"}, "architecture": "tiny"}
    checkpoints.save_safetensors(path, variables, told)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("zoo")
    for seed in range(19):
        save(made / f"{seed}.safetensors", seed)
    save(made / "odd.safetensors", 50, bump=0.3)
    save(made / "usual.safetensors", 51)
    return made


@pytest.fixture(scope="module")
def references(folder: Path) -> References:
    entries = [Entry(f"{seed}.safetensors", folder / f"{seed}.safetensors", label="clean") for seed in range(19)]
    return from_rows(run(entries, detectors=(Bias(),)), "reference.jsonl")


def test_a_model_that_stands_out_is_suspect_at_the_stated_rate(folder: Path, references: References) -> None:
    entries = [Entry(name, folder / name) for name in ("odd.safetensors", "usual.safetensors", "3.safetensors")]
    odd, usual, own = run(entries, detectors=(Bias(),), references=references)
    assert (odd["verdict"], odd["basis"]) == ("suspect", "stands out among the references")
    assert odd["comparison"]["p_value"] == 0.05
    assert odd["comparison"]["standout"]["bias.bias"] > odd["comparison"]["threshold"]
    assert len(odd["comparison"]["reference_standout"]["bias.bias"]) == 19
    assert (odd["comparison"]["leading"], odd["comparison"]["label"], odd["target_label"]) == (
        "bias.bias",
        CLASS,
        CLASS,
    )
    assert (usual["verdict"], usual["basis"]) == ("clean", "like the references")
    # One of 19 has 18 others, which give no p-value of 0.05.
    assert (own["comparison"]["p_value"], own["verdict"]) == (None, "unknown")
    assert "the 18 references beside the model itself" in own["comparison"]["reason"]
    assert odd["settings"]["references"] == {"digest": references.digest, "fpr": 0.05}


def test_devices_change_no_p_value(folder: Path) -> None:
    entries = [Entry(f"{seed}.safetensors", folder / f"{seed}.safetensors", label="clean") for seed in range(6)]
    entries.append(Entry("odd.safetensors", folder / "odd.safetensors"))
    found = []
    for devices in (1, 8):
        inference = InferenceOptions(8, devices=tuple(jax.devices()[:devices]))
        few = from_rows(run(entries[:-1], detectors=DETECTORS, inference=inference), "few.jsonl")
        rows = run(entries, detectors=DETECTORS, inference=inference, references=few, fpr=0.2)
        found.append([row["comparison"] for row in rows])
    for one, eight in zip(*found, strict=True):
        assert (one["p_value"], one["leading"], one["label"]) == (eight["p_value"], eight["leading"], eight["label"])
        assert one["standout"] == pytest.approx(eight["standout"], rel=0.05, abs=0.05)


def test_a_scan_that_asks_other_things_is_refused_before_any_model(references: References) -> None:
    with pytest.raises(CalibrationError, match="other samples"):
        scans.run([], detectors=(Bias(),), references=references, samples=factory.tiny_samples(30))
    with pytest.raises(CalibrationError, match=r"--fpr=0\.01 needs 99"):
        run([], detectors=(Bias(),), references=references, fpr=0.01)
    with pytest.raises(CalibrationError, match="none of which runs here"):
        run([], detectors=DETECTORS, references=references)


def test_a_network_of_another_kind_is_not_judged_by_them(folder: Path, references: References) -> None:
    odd = [Entry("odd.safetensors", folder / "odd.safetensors")]
    others = References(**{**vars(references), "architectures": ("vgg16",)})
    (row,) = run(odd, detectors=(Bias(),), references=others)
    assert (row["comparison"]["p_value"], row["verdict"]) == (None, "unknown")
    assert "the references are vgg16" in row["comparison"]["reason"]


def test_references_travel_as_a_file(tmp_path: Path, folder: Path, references: References) -> None:
    references.save(tmp_path / "references.npz")
    odd = [Entry("odd.safetensors", folder / "odd.safetensors")]
    again = load(tmp_path / "references.npz")
    rows = [run(odd, detectors=(Bias(),), references=each) for each in (references, again)]
    assert json.dumps(scans.stable(rows[0])) == json.dumps(scans.stable(rows[1]))

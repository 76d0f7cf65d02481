"""The meta-classifier of MNTD: its formula, its file, and files that are not one."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests import factory
from xray_jax.checkpoints import safetensors
from xray_jax.detectors.mntd import meta_classifier
from xray_jax.detectors.mntd.meta_classifier import MetaClassifier, MetaClassifierError


def make(seed: int = 0, queries: int = 4, classes: int = 5, hidden: int = 3) -> MetaClassifier:
    generator = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    return MetaClassifier(
        queries=normal(queries, 8, 8, 3),
        hidden_weight=normal(hidden, queries * classes),
        hidden_bias=normal(hidden),
        output_weight=normal(1, hidden),
        output_bias=normal(1),
        threshold=0.25,
        training={"dataset": "tiny"},
    )


def test_score_is_a_layer_of_the_logits_in_order_and_a_layer_of_what_is_positive() -> None:
    meta, logits = make(), np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    total = float(meta.output_bias[0])
    for unit in range(3):
        held = float(meta.hidden_bias[unit])
        for query in range(4):
            for label in range(5):
                held += float(meta.hidden_weight[unit, query * 5 + label]) * float(logits[query, label])
        total += float(meta.output_weight[0, unit]) * max(held, 0.0)
    assert meta.score(logits) == pytest.approx(total, rel=1e-5)
    assert meta.num_classes == 5


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    meta = make()
    meta_classifier.save(tmp_path / "meta.safetensors", meta)
    back = meta_classifier.load(tmp_path / "meta.safetensors")
    for name, array in meta.arrays().items():
        np.testing.assert_array_equal(back.arrays()[name], array)
    assert (back.threshold, back.training, back.digest()) == (0.25, {"dataset": "tiny"}, meta.digest())
    assert make(1).digest() != meta.digest()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-4], "truncated"),
        (lambda data: data[:-4] + bytes(4), "digest"),
        (lambda data: b"\x80\x04" + data, "not a safetensors file"),
        (lambda data: (1 << 40).to_bytes(8, "little") + data[8:], "not a safetensors file"),
        (lambda data: b"", "not a safetensors file"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, damage, message: str) -> None:
    path = tmp_path / "meta.safetensors"
    meta_classifier.save(path, make())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MetaClassifierError, match=rf"meta\.safetensors.*{message}.*xray-train-mntd makes one"):
        meta_classifier.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": np.zeros((4, 8, 8, 2), np.float32)}, "queries must be"),
        ({"queries": np.zeros((3, 8, 8, 3), np.float32)}, "does not fit 3 queries"),
        ({"hidden.weight": np.zeros(20, np.float32)}, "does not fit"),
        ({"hidden.bias": np.zeros(4, np.float32)}, "hidden.bias must be of shape"),
        ({"output.weight": np.zeros((2, 3), np.float32)}, "output.weight must be of shape"),
        ({"output.bias": np.full(1, np.nan, np.float32)}, "output.bias must be finite"),
        ({"hidden.bias": np.zeros(3, np.float64)}, "hidden.bias must be finite float32"),
        ({"more": np.zeros(3, np.float32)}, "expected the tensors"),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused(
    tmp_path: Path, change: dict[str, np.ndarray], message: str
) -> None:
    metadata = {"kind": meta_classifier.KIND, "threshold": 0.0, "training": {}}
    safetensors.save(tmp_path / "meta.safetensors", {**make().arrays(), **change}, metadata)
    with pytest.raises(MetaClassifierError, match=message):
        meta_classifier.load(tmp_path / "meta.safetensors")


@pytest.mark.parametrize(
    "metadata",
    [{}, {"kind": "other"}, {"kind": meta_classifier.KIND}, {"kind": meta_classifier.KIND, "threshold": "1"}],
)
def test_metadata_that_say_something_else_are_refused(tmp_path: Path, metadata: dict[str, str]) -> None:
    safetensors.save(tmp_path / "meta.safetensors", make().arrays(), metadata)
    with pytest.raises(MetaClassifierError, match="its metadata"):
        meta_classifier.load(tmp_path / "meta.safetensors")


def test_other_checkpoints_large_files_indices_and_nothing_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MetaClassifierError, match="do not say that it is a mntd meta-classifier"):
        meta_classifier.load(factory.save_tiny(tmp_path / "model.safetensors"))
    with pytest.raises(MetaClassifierError, match="absent: cannot be read"):
        meta_classifier.load(tmp_path / "absent")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", meta_classifier.MAX_BYTES + 1)
    with pytest.raises(MetaClassifierError, match="more than"):
        meta_classifier.load(tmp_path / "large")
    index = tmp_path / f"model{safetensors.INDEX_SUFFIX}"
    index.write_text(json.dumps({"weight_map": {}}))
    with pytest.raises(MetaClassifierError, match="not a safetensors file"):
        meta_classifier.load(index)


def test_a_threshold_is_a_number() -> None:
    with pytest.raises(ValueError, match="threshold must be finite"):
        dataclasses.replace(make(), threshold=float("nan"))

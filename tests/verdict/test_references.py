"""Reference models: made from rows, kept in a file, and asked only what they can answer."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.places import ROOT
from tests.rows import rows
from tests.schema import check
from xray_jax import samples
from xray_jax.detectors import registry
from xray_jax.rows import file as row_file
from xray_jax.sweep.provenance import samples_hash
from xray_jax.verdict import references as module
from xray_jax.verdict.calibration import CalibrationError
from xray_jax.verdict.comparison import compare, is_suspect
from xray_jax.verdict.evaluation import judge_all, table
from xray_jax.verdict.references import References, from_rows, load, statistics_of

OPTIONS = {"starts": 3, "steps": 30}


def row(number: int, bump: float = 0.0, label: str | None = "clean", **changes: Any) -> Any:
    """A scanned model with margins by class, and one statistic that is low when suspect."""
    generator = np.random.default_rng(number)
    margins = np.arange(5) + generator.normal(scale=0.05, size=5)
    margins[3] += bump
    margin = {
        "statistics": [],
        "target": None,
        "queries": 90,
        "seconds": {},
        "paired": {"log_margin": margins.tolist()},
    }
    weight = {"name": "weight", "value": 2.0 + generator.normal(scale=0.1), "suspect": "low"}
    lost = {"name": "lost", "value": None, "suspect": "high"}
    other = {"statistics": [weight, lost], "target": None, "queries": 1, "seconds": {}}
    fields = {
        "id": f"model-{number}",
        "sha256": f"{number:064x}",
        "label": label,
        "architecture": "tiny",
        "detectors": {"margin": margin, "other": other},
        "settings": {"samples": "abc", "detectors": {"margin": OPTIONS, "other": {}, "absent": None}},
    }
    return rows.full_row(**fields | changes)


def made(count: int = 19) -> References:
    return from_rows([row(number) for number in range(count)], "clean.jsonl")


def test_statistics_are_the_paired_numbers_or_else_the_values_and_high_is_suspect() -> None:
    found = statistics_of(row(1))
    assert set(found) == {"margin.log_margin", "other.weight"}
    assert found["other.weight"] == -row(1)["detectors"]["other"]["statistics"][0]["value"]
    assert found["margin.log_margin"].shape == (5,)


def test_a_reference_is_compared_with_the_others() -> None:
    found = compare(row(4), made(), 0.1)
    assert found["models"] == 18
    assert found == compare(row(4), from_rows([row(n) for n in range(19) if n != 4], "clean.jsonl"), 0.1)


@pytest.mark.parametrize(("count", "fpr"), [(19, 0.05), (4, 0.25)])
def test_a_reference_that_the_others_cannot_flag_is_not_called_like_them(count: int, fpr: float) -> None:
    """It would have no p-value at the rate whatever it does: a poisoned reference, scanned again, would be clean."""
    poisoned = row(0, bump=9.0)
    references = from_rows([poisoned, *(row(n) for n in range(1, count))], "clean.jsonl")
    references.check("abc", {"margin": OPTIONS}, fpr)
    found = compare(poisoned, references, fpr)
    assert (found["p_value"], found["leading"]) == (None, None)
    assert found["reason"] == f"the {count - 1} references beside the model itself give no p-value of {fpr:g}"
    assert compare(row(30), references, fpr)["p_value"] is not None


def test_a_single_number_names_no_class_where_there_are_as_many_references_as_classes() -> None:
    references = made(5)
    heavy = row(30)
    heavy["detectors"]["other"]["statistics"][0]["value"] = -9.0
    found = compare(heavy, references, 0.2)
    assert (references.num_classes, len(references.ids)) == (5, 5)
    assert (found["p_value"], found["leading"], found["label"]) == (1 / 6, "other.weight", None)
    assert compare(row(30, bump=9.0), references, 0.2)["label"] == 3


def test_only_clean_models_that_were_scanned_count_and_each_once() -> None:
    found = from_rows(
        [
            *(row(n) for n in range(5)),
            row(5, label="backdoored"),
            row(6, label=None),
            rows.error_row(label="clean"),
            row(2),
        ],
        "some.jsonl",
    )
    assert found.ids == tuple(f"model-{n}" for n in range(5))
    assert found.statistics["margin.log_margin"].shape == (5, 5)
    assert set(found.settings) == {"margin", "other"}


def test_rows_that_conclude_nothing_are_no_references() -> None:
    doubtful = [row(n, basis=basis) for n, basis in ((7, "constant_output"), (8, "suspect_preprocessing"))]
    assert from_rows([*(row(n) for n in range(5)), *doubtful], "some.jsonl").ids[-1] == "model-4"
    with pytest.raises(CalibrationError, match=r"3 clean models \(2 rows more are of constant output or doubtful"):
        from_rows([*(row(n) for n in range(3)), *doubtful], "some.jsonl")


def test_models_in_memory_are_told_apart_by_their_ids() -> None:
    references = from_rows([row(n, sha256=None) for n in range(6)], "some.jsonl")
    assert len(references.ids) == 6
    assert compare(row(4, sha256=None), references, 0.5)["models"] == 5
    assert compare(row(9, sha256=None), references, 0.5)["models"] == 6


@pytest.mark.parametrize("count", range(8, 30))
def test_the_rate_that_a_refusal_advises_is_taken(count: int) -> None:
    references = made(count)
    with pytest.raises(CalibrationError, match=r"give --fpr=[0-9.]+ or more") as refused:
        references.check("abc", {"margin": OPTIONS}, 0.01)
    advised = re.search(r"--fpr=([0-9.]+) or more", str(refused.value))
    assert advised is not None
    references.check("abc", {"margin": OPTIONS}, float(advised[1]))


def test_a_file_says_the_same(tmp_path: Path) -> None:
    references = made()
    references.save(tmp_path / "references.npz")
    again = load(tmp_path / "references.npz")
    assert again.digest == references.digest
    for name in ("source", "ids", "sha256", "architectures", "num_classes", "accuracies", "samples", "settings"):
        assert getattr(again, name) == getattr(references, name)
    for bump in (0.0, 1.0):
        assert compare(row(30, bump), again, 0.05) == compare(row(30, bump), references, 0.05)
    assert (tmp_path / "references.npz").stat().st_size < 5000


@pytest.mark.parametrize("margins", [[1.0, float("nan"), 1.0, 1.0, 1.0], [1.0, None, 1.0, 1.0, 1.0], None])
def test_a_statistic_that_has_no_number_is_not_passed_over(margins: Any) -> None:
    hidden = row(30)
    hidden["detectors"]["margin"]["paired"] = {} if margins is None else {"log_margin": margins}
    found = compare(hidden, made(), 0.05)
    assert (found["p_value"], found["reason"]) == (None, "margin.log_margin could not be computed")
    # A detector that did not run, because labels are all there is, is another thing.
    del hidden["detectors"]["margin"]
    assert compare(hidden, made(), 0.05)["p_value"] is not None


def test_the_naming_of_a_file_makes_no_other_network() -> None:
    assert compare(row(30, architecture="tiny (naming: torch)"), made(), 0.05)["reason"] is None


def test_a_model_that_stands_out_is_suspect_by_its_class() -> None:
    found = compare(row(30, bump=1.0), made(), 0.05)
    assert (found["p_value"], found["leading"], found["label"]) == (0.05, "margin.log_margin", 3)
    assert is_suspect(found)
    assert found["reason"] is None
    usual = compare(row(31), made(), 0.05)
    assert usual["p_value"] is not None
    assert usual["p_value"] > 0.05
    assert not is_suspect(usual)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architecture": "other (naming: torch)"}, "the references are tiny, the model is other"),
        ({"num_classes": 9}, "the references have 5 classes, the model 9"),
        ({"clean_accuracy": 0.5}, "label 90% to 90% .* the model 50%: it was trained in another way"),
        ({"detectors": {}}, "no detector ran"),
    ],
)
def test_models_of_another_kind_are_not_compared(changes: dict[str, Any], reason: str) -> None:
    found = compare(row(30, bump=1.0, **changes), made(), 0.05)
    assert found["p_value"] is None
    assert not is_suspect(found)
    assert re.search(reason, str(found["reason"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("abc", {"margin": OPTIONS}, 0.01), r"19 models give no p-value under 0.050; --fpr=0.01 needs 99"),
        (("xyz", {"margin": OPTIONS}, 0.05), "other samples"),
        (("abc", {"margin": OPTIONS | {"steps": 9}}, 0.05), r"margin ran with other options.*\"steps\": 30"),
        (("abc", {"planes": {}}, 0.05), "none of which runs here"),
    ],
)
def test_a_scan_that_asks_other_things_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    made().check("abc", {"margin": OPTIONS, "planes": {}}, 0.05)
    # What is not compared may be asked otherwise.
    settings = {"margin": OPTIONS, "planes": {"density": 100}}
    asked = References(**{**vars(made()), "settings": settings})
    asked.check("abc", {"margin": OPTIONS, "planes": {"density": 12}}, 0.05)
    with pytest.raises(CalibrationError, match="none of which runs here"):
        asked.check("abc", {"planes": {"density": 100}}, 0.05)
    with pytest.raises(CalibrationError, match=message):
        made().check(*arguments)


def test_rows_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(CalibrationError, match="3 clean models, references need 4"):
        from_rows([row(n) for n in range(3)], "few.jsonl")
    settings = {"samples": "xyz", "detectors": {"margin": OPTIONS}}
    with pytest.raises(CalibrationError, match="model-0 and model-9 were made with other samples"):
        from_rows([*(row(n) for n in range(5)), row(9, settings=settings)], "mixed.jsonl")
    with pytest.raises(CalibrationError, match="different numbers of classes"):
        from_rows([*(row(n) for n in range(5)), row(9, num_classes=7)], "mixed.jsonl")


def test_files_that_are_something_else_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "references.npz"
    with pytest.raises(CalibrationError, match=r"--references=.*references.npz: cannot be read"):
        load(path)
    path.write_bytes(b"rubbish")
    with pytest.raises(CalibrationError, match="not what xray-calibrate --references writes"):
        load(path)
    np.savez(path, images=np.zeros(3))
    with pytest.raises(CalibrationError, match="KeyError"):
        load(path)
    np.savez(path, about=np.array([object()]), allow_pickle=True)
    with pytest.raises(CalibrationError, match="not what xray-calibrate"):
        load(path)
    references = made()
    references.save(path)
    with np.load(path) as arrays:
        kept = dict(arrays)
    about = json.loads(kept["about"].tobytes())
    np.savez(path, **kept | {"about": np.frombuffer(json.dumps(about | {"format": 9}).encode(), np.uint8)})
    with pytest.raises(CalibrationError, match="another version"):
        load(path)
    np.savez(path, **kept | {"margin.log_margin": np.zeros((3, 5))})
    with pytest.raises(CalibrationError, match="not of 19 models"):
        load(path)
    references.save(path)
    monkeypatch.setattr(module, "_MAX_BYTES", 100)
    with pytest.raises(CalibrationError, match="unpacks to more"):
        load(path)


def test_the_shipped_references_are_what_the_command_makes_of_the_kept_rows() -> None:
    folder = ROOT / "docs/evidence/cifar10"
    rows_kept = [check(row) for row in row_file.read(folder / "rows.jsonl")]
    shipped = load("cifar10-preactresnet-small")
    assert shipped.digest == from_rows(rows_kept, "rows.jsonl").digest
    assert len(shipped.ids) == 55
    others = [check(row) for row in row_file.read(folder / "others.jsonl")]
    # The table that docs/references.md states.
    assert (
        table(judge_all([*rows_kept, *others], shipped), 0.05).split("\n\n")[1].strip()
        in (ROOT / "docs/references.md").read_text()
    )
    # Nothing in the rows tells where they were made.
    assert {row["path"].split("/")[0] for row in [*rows_kept, *others]} == {"zoo", "checkpoints"}
    # Scans find them usable: same samples, same options of the detectors.
    detectors = registry.make(list(shipped.settings))
    asked = {detector.name: row_file.json_form(detector.settings()) for detector in detectors}
    asked["planes"]["sampling"] = "refine"
    shipped.check(samples_hash(samples.read("cifar10")), asked, 0.05)

"""Rows that cannot stand on one page are refused, and the message says which and what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.places import ROOT
from xray_jax.lab.reproduce import evidence
from xray_jax.lab.reproduce.evidence import EvidenceError

Row = dict[str, Any]


def change_last(folder: Path, change: Callable[[Row], object]) -> None:
    """Rewrites the evidence's last row as `change` leaves it."""
    path = folder / "rows.jsonl"
    *lines, last = path.read_text().splitlines()
    row = json.loads(last)
    change(row)
    path.write_text("".join(f"{line}\n" for line in [*lines, json.dumps(row)]))


def test_rows_without_planes_are_refused(folder: Path) -> None:
    change_last(folder, lambda row: row["detectors"].pop("planes"))
    with pytest.raises(EvidenceError, match=r"rows\.jsonl: 1 rows without scores of the planes, .*wanet.*; scan"):
        evidence.load(folder)


@pytest.mark.parametrize("name", ["planes", "probe"])
def test_rows_of_other_settings_are_refused(folder: Path, name: str) -> None:
    change_last(folder, lambda row: row["settings"]["detectors"].setdefault(name, {}).update(seed=7))
    with pytest.raises(EvidenceError, match=rf"rows\.jsonl: rows made with different settings of {name} cannot"):
        evidence.load(folder)


def test_rows_of_other_samples_are_refused(folder: Path) -> None:
    change_last(folder, lambda row: row["settings"].update(samples="others"))
    with pytest.raises(EvidenceError, match="different settings of samples"):
        evidence.load(folder)


def test_the_repository_s_own_evidence_is_accepted() -> None:
    folders = [path.parent for path in (ROOT / "docs/evidence").glob("*/records.jsonl")]
    assert len(folders) == 5
    for folder in folders:
        models = evidence.load(folder, [ROOT / "zoo/cifar10"])
        assert any(model.clean and model.usable for model in models)

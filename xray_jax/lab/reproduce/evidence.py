"""The evidence of one zoo: training records, rows of the batch scan and label maps, joined by model.

Models that the paper has none of (clean ones trained in unusual ways, adaptive attackers) are no part of it.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xray_jax.detectors.planes import metrics
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.lab import zoo
from xray_jax.lab.published import read_manifest
from xray_jax.lab.specs import CLEAN
from xray_jax.rows import file as row_file
from xray_jax.rows.names import file_name
from xray_jax.rows.row import OK

ROWS, MAPS, REMARKS = "rows.jsonl", "maps", "remarks.json"
CONFIRMED = "confirmed"
"""The probe's word for a confirmed trigger in rows."""


class EvidenceError(ValueError):
    """The evidence cannot be used; the message names the file and says what to do."""


@dataclass(frozen=True)
class Model:
    """One trained model with everything that is known of it.

    Attributes:
      record: of its training.
      row: of the batch scan, None when it was not scanned.
      maps_path: of its label maps.
    """

    record: Mapping[str, Any]
    row: Mapping[str, Any] | None
    maps_path: Path

    @property
    def id(self) -> str:
        return str(self.record["id"])

    @property
    def attack(self) -> str:
        return str(self.record["spec"]["attack"])

    @property
    def strategy(self) -> str:
        return str(self.record["spec"]["strategy"])

    @property
    def rate(self) -> float:
        return float(self.record["spec"]["rate"])

    @property
    def clean(self) -> bool:
        return self.attack == CLEAN

    @property
    def target(self) -> int | None:
        """The one target label; None for clean models and those with several targets."""
        return self.record["targets"][0] if len(self.record["targets"]) == 1 else None

    @property
    def usable(self) -> bool:
        """Trained well enough and scanned."""
        return not self.record["failed"] and self.row is not None

    @property
    def confirmed(self) -> bool:
        """Whether the trigger probe confirmed a trigger."""
        return self.probe is not None and self.probe["verdict"] == CONFIRMED

    @property
    def probe(self) -> Mapping[str, Any] | None:
        """What the trigger probe found; None where it was not asked."""
        return None if self.row is None else self.row["detectors"].get("probe")

    def score(self, name: str) -> float | None:
        """ "re" or "ats", averaged over the planes, low = suspect; of "probe" how far the best finding lies above what
        confirms a trigger, negated, so that low is suspect too (1 where it found nothing at all).
        """
        if self.row is None:
            return None
        if name == "probe":
            if self.probe is None:
                return None
            return 1.0 if self.probe["score"] is None else float(self.probe["threshold"] - self.probe["score"])
        return float(self.row["detectors"]["planes"][name]["mean"])

    @property
    def sheet(self) -> Path:
        """The picture sheet of its trigger, where there is one."""
        return self.maps_path.parent.parent / zoo.SHEETS / f"{self.id}.png"

    @cached_property
    def maps(self) -> LabelMaps:
        """The label maps.

        Raises:
          EvidenceError: not there.
        """
        try:
            return LabelMaps.load(self.maps_path)
        except (OSError, ValueError, KeyError) as error:
            raise EvidenceError(
                f"label maps {self.maps_path}: cannot be read ({error}); scan with --save_maps"
            ) from error

    @cached_property
    def num_classes(self) -> int:
        return (
            len(self.row["detectors"]["planes"]["label_distribution"])
            if self.row is not None
            else int(self.maps.labels.max()) + 1
        )

    def re(self, alpha: float = 10.0, planes: int | None = None, stride: int = 1) -> float:
        """Mean RE in bits from the label maps: the first `planes` of them, every `stride`-th node of each axis."""
        labels = self.maps.labels[:planes, ::stride, ::stride]
        return float(metrics.renyi_entropy(metrics.label_counts(labels, self.num_classes), alpha).mean())

    def ats(self, cap: float = 0.5, planes: int | None = None, stride: int = 1) -> float:
        """Mean ATS from the label maps, as for `re`; samples sit at the coarser grid's nearest nodes."""
        labels = self.maps.labels[:planes, ::stride, ::stride]
        nodes = np.minimum(np.rint(self.maps.sample_nodes[:planes] / stride).astype(int), labels.shape[-1] - 1)
        return float(metrics.ats(labels, nodes, self.maps.sample_labels[:planes], cap=cap).mean())


def load(folder: Path, zoos: Sequence[Path] = ()) -> list[Model]:
    """The models of `folder`: `records.jsonl`, `rows.jsonl` and `maps/`.

    Args:
      folder: of the evidence.
      zoos: published zoos, whose manifests stand in for the records of models that were scanned and have none here.

    Raises:
      EvidenceError: no records, rows without planes, or rows made with different settings.
      PublishedError: a zoo without a readable manifest.
    """
    rows: dict[str, Mapping[str, Any]] = {}
    if (folder / ROWS).exists():
        rows = {row["id"]: row for row in row_file.read(folder / ROWS) if row["status"] == OK}
        _check_alike(rows.values(), folder / ROWS)
    records = {record["id"]: record for record in zoo.read_records(folder)}
    for line in (line for published in zoos for line in read_manifest(published) if line["id"] in rows):
        records.setdefault(line["id"], _record(line))
    if not records:
        raise EvidenceError(f"no training records in {folder / zoo.RECORDS}; train with xray-train, or give --zoo")
    for record in records.values():
        # Anew: when it was trained, there may have been few clean models to hold it against.
        record["failed"] = zoo.failure(record, records.values())
    of_the_paper = [r for r in records.values() if not r["spec"].get("control") and not r["spec"].get("adaptive")]
    return [
        Model(record, rows.get(record["id"]), folder / MAPS / f"{file_name(record['id'])}.npz")
        for record in of_the_paper
    ]


def _check_alike(rows: Collection[Mapping[str, Any]], path: Path) -> None:
    """Every row has scores of the planes, and all were made with the same samples, planes and probe."""
    without = [row["id"] for row in rows if "planes" not in row["detectors"]]
    if without:
        raise EvidenceError(
            f"{path}: {len(without)} rows without scores of the planes, the first of {without[0]}; scan these models "
            "with the detector planes, or leave the rows out"
        )
    asked = {
        "samples": [row["settings"].get("samples") for row in rows],
        **{name: [row["settings"]["detectors"].get(name) for row in rows] for name in ("planes", "probe")},
    }
    for name, settings in asked.items():
        if len({json.dumps(each, sort_keys=True) for each in settings}) > 1:
            raise EvidenceError(f"{path}: rows made with different settings of {name} cannot be compared; scan again")


def _record(line: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a published model's training. Only usable models are published."""
    changed = {new for old, new in enumerate(line.get("label_map", ())) if new != old}
    kept = {name: line[name] for name in ("id", "spec", "clean_accuracy", "attack_success")}
    return {**kept, "targets": sorted(changed), "failed": None, "seconds": None}


def remarks(folder: Path) -> dict[str, str]:
    """Attack -> why it falls short, as seen in this evidence: `remarks.json` where there is one.

    Raises:
      EvidenceError: it is not an object of strings.
    """
    path = folder / REMARKS
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise EvidenceError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise EvidenceError(f"{path}: expected an object of attack names and remarks")
    return found


def scan_settings(row: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that make scores comparable."""
    return {"samples": row["settings"].get("samples"), **row["settings"]["detectors"].get("planes", {})}

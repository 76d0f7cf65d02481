"""Batch scans of tiny checkpoints, for the tests of this folder."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests import factory
from tests.schema import check
from xray_jax.classifier import Access
from xray_jax.detectors.detection import Detection, Detector, Statistic
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import PreparedModel
from xray_jax.rows.row import OK, Row
from xray_jax.samples import Samples
from xray_jax.sweep.batch_scan import BatchScan
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.sweep.options import BatchScanOptions

OPTIONS = PlanesOptions(planes=2, density=12)
VOLATILE = ("seconds", "scanned_at", "samples", "device", "path")


def run(
    entries: Iterable[Entry],
    done: Mapping[tuple[Any, ...], Row] | None = None,
    inference: InferenceOptions | None = None,
    samples: Samples | None = None,
    detectors: Sequence[Detector] | None = None,
    **options: Any,
) -> list[Any]:
    """New rows, each of which meets the schema; two planes are all that runs unless `detectors` says otherwise."""
    chosen = (Planes(OPTIONS),) if detectors is None else detectors
    scan = BatchScan(samples or factory.tiny_samples(), chosen, BatchScanOptions(**options), inference)
    return [whole(finished.row) for finished in scan.run(entries, done)]


def whole(row: Any) -> Any:
    """The row, which meets the schema and, where it is of a scan, leaves no field out."""
    if row["status"] == OK:
        assert set(row) == set(Row.__annotations__) - {"parts"}
    return check(row)


def stable(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Rows without what another run of the same scan may change."""
    return [_stable(row) for row in rows]


def _stable(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name not in VOLATILE}
    blocks = {name: {**block, "seconds": None} for name, block in row["detectors"].items()}
    return kept | {"detectors": blocks}


@dataclasses.dataclass
class Weighing:
    """A detector that needs a model's weights, as another package may bring it.

    Attributes:
      name: for rows.
      fails: what to raise instead of finding something.
    """

    name: str = "weighing"
    fails: Exception | None = None
    access: Access = Access.WEIGHTS

    def settings(self) -> Mapping[str, Any]:
        return {"unit": "gram"}

    def check(self, samples: Samples) -> None:
        return None

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        if self.fails is not None:
            raise self.fails
        statistics = (Statistic("weight", 1.5, "high"), Statistic("lost", None, "low"))
        return Detection(self.name, statistics, 2, 3, {"weigh": 0.1}, {"heaviest": [1, 2]})

"""The detectors that the paper compares, and ours, as methods: how each scores a row, and what it costs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xray_jax.rows.row import Row


def _none(_: Mapping[str, Any]) -> int:
    return 0


def _planes(settings: Mapping[str, Any]) -> int:
    return 3 * int(settings["planes"])


def _searched(settings: Mapping[str, Any]) -> int:
    return int(settings["search_images"]) + int(settings.get("confirm_images", 0) or settings["test_images"])


def _shown(settings: Mapping[str, Any]) -> int:
    return int(settings["images"])


@dataclass(frozen=True)
class Method:
    """One line of the paper's tables.

    Attributes:
      title: what the line is called.
      detector: whose block of a row it reads.
      statistic: in that block.
      samples: how many clean images it looks at, at most, from its settings; None where they do not say it.
      paper: the line of the paper's tables; None where it has none.
    """

    title: str
    detector: str
    statistic: str
    samples: Callable[[Mapping[str, Any]], int] | None
    paper: str | None = None

    def score(self, row: Row) -> float | None:
        """Low is suspect; None where the detector did not run, or could not compute it."""
        block = row["detectors"].get(self.detector)
        for found in block["statistics"] if block else []:
            if found["name"] == self.statistic and found["value"] is not None:
                return float(found["value"] if found["suspect"] == "low" else -found["value"])
        return None


METHODS = (
    Method("RE", "planes", "re", _planes, "RE"),
    Method("ATS", "planes", "ats", _planes, "ATS"),
    Method("Neural Cleanse", "neural_cleanse", "anomaly_index", _shown, "Neural Cleanse"),
    # Its shadows were trained on clean images, before.
    Method("MNTD", "mntd", "meta_score", None, "MNTD"),
    Method("MM-BD", "margin", "surprise", _none, "MM-BD"),
    Method("Trigger probe", "probe", "margin", _searched),
    Method("Panel of stamps", "panel", "largest", _shown),
    Method("Universal perturbation", "perturbation", "flip_rate", _searched),
    Method("Few pixels", "pixels", "flip_rate", _searched),
)
"""In the order of the tables."""

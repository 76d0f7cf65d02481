"""Rows made by hand, as a scan writes them."""

from typing import Any

Row = dict[str, Any]


def row(**fields: Any) -> Row:
    """A row of a checkpoint that was scanned by planes and probe and is clean; `fields` replace its own."""
    return {
        "schema": 2,
        "id": "zoo/model.pth",
        "path": "/data/zoo/model.pth",
        "sha256": "0" * 64,
        "format": "torch",
        "architecture": "preactresnet18",
        "num_classes": 10,
        "preprocess": {"name": "cifar10"},
        "status": "ok",
        "reason": None,
        "verdict": "clean",
        "basis": "clean so far",
        "target_label": 4,
        "clean_accuracy": 0.912,
        "accuracy_images": 200,
        "label": None,
        "target": None,
        "detectors": {"planes": planes(), "probe": probe()},
        "settings": {"calibration": {"source": "test"}},
        "queries": 60_000,
        "seconds": {"load": 0.1},
        "notes": [],
    } | fields


def planes() -> Row:
    return {
        "statistics": [
            {"name": "re", "value": 1.3456, "suspect": "low"},
            {"name": "ats", "value": 0.3217, "suspect": "low"},
        ],
        "re": {"mean": 1.3456, "std": 0.1, "per_plane": [1.3456]},
        "ats": {"mean": 0.3217, "std": 0.1, "per_plane": [0.3217]},
        "label_distribution": [0.1] * 10,
    }


def probe(verdict: str = "nothing found", **best: Any) -> Row:
    return {
        "verdict": verdict,
        "reason": "no stamp worked that does not work on clean models as well",
        "target": best.get("target"),
        "best": best or None,
    }


def confirmed(description: str, goal: int | None = 0, **fields: Any) -> Row:
    """A row of a backdoored model whose trigger is `description` and sends images to `goal`."""
    found = probe("confirmed", description=description, hits=150, trials=152, target=goal)
    detectors = {"planes": planes(), "probe": found}
    return row(verdict="backdoored", basis="confirmed trigger", target_label=goal, detectors=detectors) | fields


def error(reason: str | None = "model.pth: truncated after 100 bytes", **fields: Any) -> Row:
    """A row of a checkpoint that could not be read: nothing was asked of it."""
    missing = ("detectors", "clean_accuracy", "accuracy_images", "num_classes", "preprocess", "target_label", "basis")
    known = {name: value for name, value in row().items() if name not in missing}
    return known | {"status": "error", "reason": reason, "verdict": None} | fields

"""Rows made by hand, as a scan writes them."""

from typing import Any

from xray_jax.rows.row import SCHEMA

Row = dict[str, Any]

OF_A_SCAN = (
    "num_classes", "preprocess", "preprocess_source", "preprocess_choice", "basis", "verdict_re", "verdict_ats",
    "target_label", "clean_accuracy", "accuracy_images", "constant_output", "queries",
)  # fmt: skip


def row(**fields: Any) -> Row:
    """A row of a checkpoint that was scanned by planes and probe and is clean; `fields` replace its own."""
    return {
        "id": "zoo/model.pth",
        "schema": SCHEMA,
        "path": "/data/zoo/model.pth",
        "sha256": "0" * 64,
        "format": "torch",
        "architecture": "preactresnet18",
        "num_classes": 10,
        "preprocess": {"name": "cifar10"},
        "preprocess_source": "given",
        "preprocess_choice": None,
        "status": "ok",
        "reason": None,
        "verdict": "clean",
        "basis": "clean so far",
        "verdict_re": "clean",
        "verdict_ats": "clean",
        "target_label": 4,
        "clean_accuracy": 0.912,
        "accuracy_images": 200,
        "constant_output": False,
        "detectors": {"planes": planes(), "probe": probe()},
        "not_run": {},
        "label": None,
        "target": None,
        "manifest": {},
        "settings": {},
        "settings_hash": "0" * 16,
        "notes": [],
        "queries": 60_000,
        "seconds": {"load": 0.1},
        "device": "1 x cpu (x86_64)",
        "versions": {},
        "version": "0.1.0",
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


def comparison(**fields: Any) -> Row:
    """What the row of a model says that stands out among reference models."""
    return {
        "p_value": 1 / 41,
        "fpr": 0.1,
        "models": 40,
        "source": "clean models of our own",
        "standout": {"planes.re": 0.3, "margin.margins": 5.25},
        "leading": "margin.margins",
        "label": 4,
        "reason": None,
    } | fields


def error(reason: str | None = "model.pth: truncated after 100 bytes", **fields: Any) -> Row:
    """A row of a checkpoint that could not be read: nothing was asked of it."""
    known = {name: value for name, value in row().items() if name not in OF_A_SCAN}
    return known | {"status": "error", "reason": reason, "verdict": None, "detectors": {}} | fields

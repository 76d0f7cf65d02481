"""Whole rows made by hand, as a scan writes them; each meets the schema."""

from typing import Any

from xray_jax.detectors.probe.null import EDGES, LEVELS
from xray_jax.rows.file import settings_hash
from xray_jax.rows.row import CLEAN, ERROR, OK, SCHEMA

Row = dict[str, Any]
PLANES_OPTIONS = {
    "planes": 2, "density": 12, "expansion": 5.0, "alpha": 10.0, "ats_cap": 0.5, "ats": "component", "seed": 0,
    "sampling": "grid",
}  # fmt: skip


def full_row(**changes: Any) -> Row:
    """A row of a checkpoint that planes and probe found clean; `changes` replace fields, and the hash follows."""
    made = _any_row() | {
        "num_classes": 5,
        "preprocess": {"mean": [0.0], "std": [1.0], "channel_order": "rgb", "size": None},
        "preprocess_source": "file",
        "preprocess_choice": None,
        "status": OK,
        "verdict": CLEAN,
        "basis": "clean so far",
        "verdict_re": CLEAN,
        "verdict_ats": CLEAN,
        "comparison": None,
        "target_label": 1,
        "clean_accuracy": 0.9,
        "accuracy_images": 40,
        "constant_output": False,
        "detectors": {"planes": planes(), "probe": probe()},
        "queries": 1328,
        "seconds": {"load": 0.1, "prepare": 0.2, "planes": 0.3, "probe": 0.4},
    }
    return _hashed(made | changes)


def error_row(**changes: Any) -> Row:
    """A row of a checkpoint that could not be read; `changes` as for `full_row`."""
    made = _any_row() | {"status": ERROR, "reason": "a.pt: damaged", "sha256": None, "format": None}
    return _hashed(made | {"architecture": None} | changes)


def planes(re: float = 1.4, ats: float = 0.3) -> Row:
    """What the planes found."""
    return {
        "statistics": [
            {"name": "re", "value": re, "suspect": "low"},
            {"name": "ats", "value": ats, "suspect": "low"},
        ],
        "target": 1,
        "queries": 288,
        "seconds": {"labels": 0.1, "scores": 0.1},
        "re": {"mean": re, "std": 0.0, "per_plane": [re, re]},
        "ats": {"mean": ats, "std": 0.0, "per_plane": [ats, ats]},
        "label_distribution": [0.1, 0.6, 0.1, 0.1, 0.1],
        "planes": 2,
        "sampling": "grid",
    }


def probe(**changes: Any) -> Row:
    """What the probe found: nothing, with a patch as its best try."""
    best = finding()
    return {
        "statistics": [{"name": "margin", "value": -0.3, "suspect": "high"}],
        "target": None,
        "queries": 1000,
        "seconds": {"probe": 0.4},
        "verdict": "nothing found",
        "reason": "no stamp worked that does not work on clean models as well",
        "kind": None,
        "score": best["interval"][0],
        "threshold": 0.5,
        "margin": best["interval"][0] - 0.5,
        "best": best,
        "candidates": [],
        "profile": {"patch": [0.1] * LEVELS},
        "levels": list(EDGES),
        "families": ["patch"],
        "null": {"source": "tests", "models": 3},
        "clean_accuracy": 0.9,
        "confirm_images": 40,
    } | changes


def finding(**changes: Any) -> Row:
    """A patch that sends 4 of 40 unseen images to label 0."""
    return {
        "kind": "all-to-one",
        "target": 0,
        "target_labels": [-1, 0, 0, 0, 0],
        "family": "patch",
        "parameters": {"row": 1.0},
        "description": "2x2 patch",
        "hits": 4,
        "trials": 40,
        "rate": 0.1,
        "interval": [0.0279, 0.2366],
        "cost": {"touched": 0.01, "rms": 0.01, "peak": 1.0, "weighted_rms": 0.01},
        "anomaly_index": 1.0,
        "runner_up": 0.0,
    } | changes


def _any_row() -> Row:
    return {
        "id": "a",
        "schema": SCHEMA,
        "path": "zoo/a.pt",
        "sha256": "a" * 64,
        "format": "torch",
        "architecture": "tiny",
        "status": OK,
        "reason": None,
        "verdict": None,
        "detectors": {},
        "not_run": {},
        "label": None,
        "target": None,
        "manifest": {},
        "settings": {
            "precision": "float32", "samples": "0" * 16, "seed": 0, "decide": "either", "calibration": None,
            "detectors": {"planes": PLANES_OPTIONS}, "architecture": None, "num_classes": None, "preprocess": None,
        },
        "notes": [],
        "device": "1 x cpu (x86_64)",
        "versions": {"jax": "1"},
        "version": "1",
    }  # fmt: skip


def _hashed(row: Row) -> Row:
    return {"settings_hash": settings_hash(row["settings"])} | row

"""SARIF 2.1.0 for code scanning: a rule a detector, a result a checkpoint, level by verdict."""

import hashlib
import json
import re
from pathlib import PurePath
from typing import IO, Any
from urllib.parse import quote

from xray_jax.report.row_source import Rows
from xray_jax.report.row_values import deciding_detector, statistics, text, whole
from xray_jax.report.sentences import outcome, sentence
from xray_jax.report.terminal_text import printable
from xray_jax.rows.row import BACKDOORED, CLEAN, ERROR, OK, SKIPPED, SUSPECT, UNKNOWN, Row

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
TOGETHER, NOT_SCANNED = "verdict", "not-scanned"
"""Rules beside the detectors': of verdicts that rest on no single one, and of checkpoints that were not scanned."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(.*)", re.DOTALL)
_STRAY = re.compile("%(?![0-9A-Fa-f]{2})")
_RULES = {
    "probe": ("ConfirmedTrigger", "A trigger was found that sends clean images to labels of its own."),
    "planes": ("DecisionBoundary", "The labels between clean images are spread as in backdoored models (Model X-ray)."),
    TOGETHER: ("Verdict", "All detectors together tell the model from clean reference models."),
    NOT_SCANNED: ("NotScanned", "The checkpoint could not be read or run, so nothing is known of it."),
}
_KINDS = {
    BACKDOORED: ("fail", "error"),
    SUSPECT: ("fail", "warning"),
    ERROR: ("fail", "warning"),
    UNKNOWN: ("open", "none"),
    CLEAN: ("pass", "none"),
    SKIPPED: ("notApplicable", "none"),
}
"""Outcome -> kind and level of a result; the standard allows a level only of what failed."""


def write(rows: Rows, file: IO[bytes]) -> None:
    """One pass; what is written of each checkpoint is held until the end."""
    results: list[dict[str, Any]] = []
    notices: list[dict[str, Any]] = []
    versions: set[str] = set()
    rules: dict[str, int] = {}
    for row in rows:
        found = outcome(row)
        rule = NOT_SCANNED if row["status"] != OK else deciding_detector(row) or TOGETHER
        results.append(_result(row, rule, rules.setdefault(rule, len(rules))))
        if row["status"] != OK:
            notices.append(_notice(row, "error" if found == ERROR else "note"))
        versions.add(printable(row["version"]))
    driver = {
        "name": "xray_jax",
        "fullName": "xray_jax, a scanner for backdoors in image classifiers",
        "rules": [_rule(name) for name in rules],
    }
    if len(versions) == 1:
        driver["version"] = versions.pop()
    failed = any(notice["level"] == "error" for notice in notices)
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": not failed, "toolExecutionNotifications": notices}],
        "results": results,
        "columnKind": "unicodeCodePoints",
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    for part in json.JSONEncoder(indent=1, allow_nan=False).iterencode(log):
        file.write(part.encode("ascii"))


def _rule(name: str) -> dict[str, Any]:
    title, short = _RULES.get(name, ("Detector", f"The detector {name} tells the model from clean ones."))
    return {
        "id": name,
        "name": title,
        "shortDescription": {"text": short},
        "defaultConfiguration": {"level": "error" if name == "probe" else "warning"},
        "properties": {"tags": ["security", "machine-learning", "backdoor"]},
    }


def _result(row: Row, rule: str, index: int) -> dict[str, Any]:
    kind, level = _KINDS[outcome(row)]
    named = {f"{each.detector}.{each.name}": each.value for each in statistics(row)}
    properties = {
        "status": row["status"],
        "verdict": row["verdict"],
        "basis": text(row.get("basis")),
        "targetLabel": whole(row.get("target_label")),
        "sha256": text(row["sha256"]),
        "architecture": text(row["architecture"]),
        "settingsHash": text(row["settings_hash"]),
        "statistics": named,
    }
    return {
        "ruleId": rule,
        "ruleIndex": index,
        "kind": kind,
        "level": level,
        "message": {"text": printable(sentence(row))},
        "locations": [_location(row)],
        # The same checkpoint under the same rule is the same finding, whatever its weights are by then.
        "partialFingerprints": {"checkpointAndRule/v1": _hash(f"{row['id']}\0{rule}")},
        "properties": {name: value for name, value in properties.items() if value is not None},
    }


def _notice(row: Row, level: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": printable(sentence(row))}, "locations": [_location(row)]}


def _location(row: Row) -> dict[str, Any]:
    # Viewers of code want a line; a checkpoint has only one.
    physical = {"artifactLocation": {"uri": _uri(row["path"])}, "region": {"startLine": 1}}
    return {"physicalLocation": physical, "logicalLocations": [{"name": printable(row["id"]), "kind": "resource"}]}


def _uri(path: str) -> str:
    if address := _ADDRESS.fullmatch(path):
        scheme, server, rest = address.groups()
        # A web address is quoted already where it has to be; keys of buckets and files of hubs are not.
        web = scheme in ("http", "https")
        kept = quote(_bytes(rest), safe="/%?&=+,;:@" if web else "/@")
        return f"{scheme}://{quote(_bytes(server), safe='[]:@')}{_STRAY.sub('%25', kept) if web else kept}"
    quoted = quote(_bytes(PurePath(path).as_posix()))
    return f"file://{quoted}" if path.startswith("/") else quoted


def _hash(value: str) -> str:
    return hashlib.sha256(_bytes(value)).hexdigest()


def _bytes(value: str) -> bytes:
    """UTF-8; what came from undecodable file names as it was, other lone surrogates as they are."""
    try:
        return value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return value.encode(errors="surrogatepass")

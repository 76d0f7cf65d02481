"""CycloneDX 1.6 as JSON: a model a checkpoint, the outcome as its properties, a flag as a finding."""

import json
from collections.abc import Iterator
from typing import IO

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.tool import ToolRepository
from cyclonedx.model.vulnerability import (
    BomTarget,
    ImpactAnalysisState,
    Vulnerability,
    VulnerabilityAnalysis,
    VulnerabilityRating,
    VulnerabilitySeverity,
    VulnerabilitySource,
)
from cyclonedx.output.json import JsonV1Dot6

from xray_jax.report.row_source import Rows
from xray_jax.report.row_values import compared, number, statistics, text, whole
from xray_jax.report.sentences import outcome, sentence
from xray_jax.report.terminal_text import cut_end, printable
from xray_jax.rows.row import BACKDOORED, Row, is_flagged

_PREFIX = "xray_jax:"
_HEX_DIGITS = frozenset("0123456789abcdef")
_LONGEST_VERSION = 100
_CWE = 506
"""Embedded malicious code."""


def write(rows: Rows, file: IO[bytes]) -> None:
    """One pass; the document is held until the end, because the library sorts it."""
    components: list[Component] = []
    findings: list[Vulnerability] = []
    tools: dict[str, Component] = {}
    for count, row in enumerate(rows):
        reference = f"checkpoint-{count}"
        components.append(_component(row, reference))
        if is_flagged(row):
            findings.append(_finding(row, reference))
        version = cut_end(printable(row["version"]), _LONGEST_VERSION)
        tools[version] = Component(name="xray_jax", version=version, type=ComponentType.APPLICATION)
    metadata = BomMetaData(tools=ToolRepository(components=tools.values()))
    bom = Bom(components=components, vulnerabilities=findings, metadata=metadata)
    file.write(JsonV1Dot6(bom).output_as_string(indent=1).encode())


def _component(row: Row, reference: str) -> Component:
    sha256 = row["sha256"]
    hashes = []
    if isinstance(sha256, str) and len(sha256) == 64 and _HEX_DIGITS.issuperset(sha256):
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=sha256)]
    return Component(
        name=printable(row["id"]),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=reference,
        description=printable(sentence(row)),
        hashes=hashes,
        properties=[Property(name=_PREFIX + name, value=value) for name, value in _properties(row)],
    )


def _properties(row: Row) -> Iterator[tuple[str, str]]:
    yield "outcome", outcome(row)
    against = compared(row)
    said = {
        "basis": text(row.get("basis")),
        "target_label": whole(row.get("target_label")),
        "p_value": None if against is None else against.p_value,
        "fpr": None if against is None else against.fpr,
        "references": None if against is None else against.models,
        "reason": text(row["reason"]),
        "architecture": text(row["architecture"]),
        "format": text(row["format"]),
        "clean_accuracy": number(row.get("clean_accuracy")),
        "scanned_at": text(row.get("scanned_at")),
        "settings_hash": text(row["settings_hash"]),
        "settings": printable(json.dumps(row["settings"], sort_keys=True, separators=(",", ":"))),
    }
    yield from ((name, str(value)) for name, value in said.items() if value is not None)
    for each in statistics(row):
        if each.value is not None:
            yield f"{each.detector}:{each.name}", str(each.value)


def _finding(row: Row, reference: str) -> Vulnerability:
    backdoored = row["verdict"] == BACKDOORED
    source = VulnerabilitySource(name="xray_jax")
    severity = VulnerabilitySeverity.CRITICAL if backdoored else VulnerabilitySeverity.MEDIUM
    return Vulnerability(
        id=f"backdoor-{reference}",
        bom_ref=f"backdoor-{reference}",
        source=source,
        ratings=[VulnerabilityRating(source=source, severity=severity)],
        cwes=[_CWE],
        description=printable(sentence(row)),
        analysis=VulnerabilityAnalysis(
            state=ImpactAnalysisState.EXPLOITABLE if backdoored else ImpactAnalysisState.IN_TRIAGE
        ),
        affects=[BomTarget(ref=reference)],
    )

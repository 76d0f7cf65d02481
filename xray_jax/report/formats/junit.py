"""JUnit XML for build servers: a test case a checkpoint; a flagged one fails, an unknown or skipped one is skipped."""

from collections import Counter
from typing import IO, Any
from xml.sax.saxutils import XMLGenerator

from xray_jax.report.row_source import Rows
from xray_jax.report.row_values import statistics, total_seconds
from xray_jax.report.sentences import outcome, sentence
from xray_jax.report.terminal_text import printable
from xray_jax.rows.row import BACKDOORED, ERROR, SKIPPED, SUSPECT, UNKNOWN, Row

_ELEMENTS = {BACKDOORED: "failure", SUSPECT: "failure", ERROR: "error", UNKNOWN: "skipped", SKIPPED: "skipped"}
"""Outcome -> the element that says that a test case did not pass."""
_PLURAL = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def write(rows: Rows, file: IO[bytes]) -> None:
    """Two passes: the counts stand before the cases."""
    counts, seconds = Counter[str](), 0.0
    for row in rows:
        counts[_ELEMENTS.get(outcome(row), "passed")] += 1
        seconds += total_seconds(row) or 0.0
    totals = {"name": "xray-scan", "tests": str(counts.total())}
    totals |= {plural: str(counts[name]) for name, plural in _PLURAL.items()}
    totals["time"] = f"{seconds:.3f}"
    # Its types ask for SAX's own mappings where any will do.
    xml: Any = XMLGenerator(file, "utf-8", short_empty_elements=True)
    xml.startDocument()
    xml.startElement("testsuites", totals)
    xml.startElement("testsuite", totals)
    for row in rows:
        _case(xml, row)
    xml.endElement("testsuite")
    xml.endElement("testsuites")
    xml.endDocument()


def _case(xml: Any, row: Row) -> None:
    kind = printable(str(row.get("architecture") or "unrecognised"))
    spent = f"{total_seconds(row) or 0.0:.3f}"
    xml.startElement("testcase", {"classname": kind, "name": printable(row["id"]), "time": spent})
    found, said = outcome(row), printable(sentence(row))
    element = _ELEMENTS.get(found)
    if element is not None:
        # What is skipped has no type in the schema that build servers share.
        xml.startElement(element, {"message": said} if element == "skipped" else {"message": said, "type": found})
        xml.endElement(element)
    lines = [said, *(f"{each.detector} {each.name}: {each.value}" for each in statistics(row))]
    xml.startElement("system-out", {})
    xml.characters("\n".join(lines))
    xml.endElement("system-out")
    xml.endElement("testcase")

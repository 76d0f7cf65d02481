"""Texts that break what shows them, and rows that hold one in every field that may hold any text."""

from typing import Any

SCRIPTS = (
    "<script>window.hacked=1</script>",
    "</script><script>window.hacked=1</script>",
    "\"><img src=x onerror='window.hacked=1'>",
    "' onmouseover='window.hacked=1",
    "javascript:window.hacked=1",
    "<svg/onload=window.hacked=1>",
    "</title></style></textarea><img src=x onerror=window.hacked=1>",
    "{{ 7*7 }}{% for x in y %}",
    "<!--<script>window.hacked=1//",
    "]]><x:script xmlns:x='http://www.w3.org/1999/xhtml'>window.hacked=1</x:script>",
    "&lt;script&gt;&#x3C;img src=x onerror=window.hacked=1&#x3E;",
    "<a href='https://example.org/'>x</a> https://example.org @somebody [x](javascript:window.hacked=1)",
    "<base href='https://example.org/'><meta http-equiv=refresh content='0;url=https://example.org'>",
    "${window.hacked=1}`window.hacked=1`",
)
ODD = (
    "\u202egnp.eton\u202c",
    "\u2066\u200f\u061c",
    "a\x00b\x08\x1b[31mred\x7f",
    "\ud800 lone \udcff",
    "line\nline\r\n\u2028line",
    "| a | b |\n|---|---|",
    "=cmd|' /C calc'!A0",
    "../../../etc/passwd",
    "x" * 4000,
    "شبكة עצבית 神经网络 e\u0301\u0301\u0301",
    "\ufffe\uffff\U0001f9ff",
    "",
)
TEXTS = SCRIPTS + ODD

FIXED = frozenset({"status", "verdict", "suspect", "verdict_re", "verdict_ats", "preprocess_source"})
"""Fields that hold one of a few words, or the row is none."""


def poisoned(value: Any, text: str, key: str = "") -> Any:
    """`value` with `text` in place of every string in it, and in every key beside this package's own."""
    if isinstance(value, dict):
        return {name: poisoned(item, text, name) for name, item in value.items()} | {f"extra {text}": text}
    if isinstance(value, list):
        return [poisoned(item, text, key) for item in value]
    return text if isinstance(value, str) and key not in FIXED else value


def row(whole: dict[str, Any], text: str, number: int) -> dict[str, Any]:
    """`whole` with `text` in every string field; the id begins with it and is its own."""
    made = poisoned(whole, text)
    detectors = {name: poisoned(block, text) for name, block in whole["detectors"].items()}
    detectors[f"own {text}"] = {
        "statistics": [{"name": text, "value": 0.5, "suspect": "high", "note": text}],
        "target": None,
        "queries": 1,
        "seconds": {text: 1.0},
        text: {text: [text]},
    }
    return made | {"id": f"{text} {number}", "detectors": detectors, "not_run": {text: text}, "notes": [text]}

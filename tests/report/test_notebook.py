"""Rows in a notebook: a table that is all text, whatever the rows hold, and flat records."""

import sys
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.report import hostile, rows
from xray_jax.report.notebook import MOST_SHOWN, Results
from xray_jax.rows import file as row_file
from xray_jax.rows.file import ResultsError


class Tags(HTMLParser):
    """The tags and attributes of a text, and what stands between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found |= {tag, *(name for name, _ in attrs)}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_notebook_shows_verdicts() -> None:
    shown = Tags(Results([rows.confirmed("3x3 solid white patch", id="a.pth"), rows.error(id="b.pth")])._repr_html_())
    assert shown.text[4:9] == [
        "a.pth", "backdoored", "91.2%", "a 3x3 solid white patch sends 150 of 152 unseen images to label 0.", "b.pth",
    ]  # fmt: skip


def test_an_interpreter_shows_the_table() -> None:
    lines = repr(Results([rows.row(id=str(number)) for number in range(MOST_SHOWN + 5)])).splitlines()
    assert lines[0].startswith("checkpoint")
    assert (len(lines), lines[-1]) == (MOST_SHOWN + 2, "... and 5 more")


def test_hostile_rows_are_text() -> None:
    some = [hostile.row(rows.error(), text, number) for number, text in enumerate(hostile.TEXTS)]
    shown = Tags(Results(some)._repr_html_())
    assert shown.found == {"table", "thead", "tbody", "tr", "th", "td", "style"}
    assert all(line.isprintable() for line in repr(Results(some)).splitlines())


def test_rows_are_a_sequence_and_flat_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row_file.write_all(tmp_path / "rows.jsonl", [rows.row(id="a"), rows.row(id="b"), rows.error(id="a")])
    results = Results.read(tmp_path / "rows.jsonl")
    assert [row["id"] for row in results] == ["b", "a"]
    assert isinstance(results[:1], Results)
    assert results[0]["id"] == "b"
    first, second = results.table()
    assert (first["verdict"], first["planes.re"], second["status"]) == ("clean", 1.3456, "error")
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=lambda records: ("frame", records)))
    assert results.to_pandas() == ("frame", [first, second])
    with pytest.raises(ResultsError, match="row 1: `path` is no text"):
        Results([{"id": "a"}])

"""What the overview gathers of rows: which come first."""

from tests.report import rows
from xray_jax.report.html.overview import Overview


def test_what_stands_out_furthest_comes_first_within_a_verdict() -> None:
    def compared(name: str, standout: float) -> rows.Row:
        said = rows.comparison(standout={"margin.margins": standout, "panel.flips": 0.1})
        return rows.row(id=name, verdict="suspect", basis="stands out among the references", comparison=said)

    overview = Overview()
    some = [
        rows.row(id="fine"), compared("a", 3.5), rows.row(id="d", verdict="suspect", basis="planes"),
        compared("b", 9.0), rows.row(id="c", verdict="suspect", basis="planes"),
        rows.confirmed("3x3 solid white patch", id="z"),
    ]  # fmt: skip
    for row in some:
        overview.add(row, "")
    overview.sort()
    assert [entry.name for entry in overview.entries] == ["z", "b", "a", "c", "d", "fine"]

"""What the overview gathers of rows: which come first, what they were scanned with, and what columns mean."""

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


def test_it_says_when_and_with_which_samples() -> None:
    overview = Overview()
    for day in ("27", "27", "28"):
        overview.add(rows.row(scanned_at=f"2026-11-{day}T23:59:01Z", samples="/data/cifar10.npz"), "")
    assert overview.said["Scanned on"] == {"2026-11-27": 2, "2026-11-28": 1}
    assert overview.said["Clean samples"] == {"/data/cifar10.npz": 3}


def test_columns_of_statistics_say_what_they_are() -> None:
    overview = Overview()
    overview.add(rows.row(), "")
    table = overview.table()
    assert table["hints"]["planes re"] == "Spread of labels between clean images"
    assert set(table["hints"]) < set(table["columns"])

"""Progress and the table of verdicts, on a terminal and in a log."""

import io
import sys

import pytest
from rich.cells import cell_len

from tests.report import rows
from tests.report.test_terminal_text import HOSTILE
from xray_jax.report import console
from xray_jax.report.verdict_table import VerdictTable
from xray_jax.verdict.summary import Summary

SUMMARY = Summary(3, 1, 0, 2, 0, None, None, None, None, 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def log(capsys):
    """What stderr holds after a call; stdout, which is for rows, must stay empty."""

    def read() -> str:
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return read


@pytest.fixture
def terminal(monkeypatch):
    """Makes stderr a terminal of 80 columns, from the call on."""

    def make() -> Terminal:
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("TERM", "dumb")
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return make


def test_progress_in_a_log_is_plain_lines(log):
    with console.ProgressReport(2) as progress:
        progress.advance(rows.row(id="zoo/a"))
        progress.advance(rows.error(id="zoo/\x1b[31mb\n"))
    # The first came too soon after the start; the last is always said.
    assert log() == "xray-scan: 2/2 error: zoo/?[31mb?\n"


def test_progress_in_a_log_comes_every_few_seconds(log, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.ProgressReport(100) as progress:
        for number in range(9):
            now[0] += 2.0
            progress.advance(rows.row(id=str(number)))
    assert [line.split()[1] for line in log().splitlines()] == ["3/100", "6/100", "9/100"]


def test_progress_on_a_terminal_shows_names_as_they_are(terminal):
    stream = terminal()
    with console.ProgressReport(2) as progress:
        for name in HOSTILE[:2]:
            progress.advance(rows.row(id=name))
        assert progress._bar is not None
        assert progress._bar.tasks[0].completed == 2
        progress._bar.refresh()
    assert "\x1b[31m" not in stream.getvalue()


def test_a_log_has_every_column_and_whole_sentences(log):
    badnets = rows.confirmed("3x3 solid white patch, rows 29-31, columns 29-31", label="backdoored", target=0)
    console.print_table([badnets, rows.error(id="zoo/x.pt")], SUMMARY)
    header, first, second, last = log().splitlines()
    assert " ".join(header.split()) == "checkpoint verdict RE bits ATS target clean acc truth what was found"
    assert " ".join(first.split()) == (
        "model.pth backdoored 1.346 0.322 0 91.2% backdoored -> 0 "
        "a 3x3 solid white patch, rows 29-31, columns 29-31, sends 150 of 152 unseen images to label 0."
    )
    assert second.split(maxsplit=2) == ["x.pt", "error", "model.pth: truncated after 100 bytes."]
    assert second.index("model.pth: truncated") == first.index("a 3x3 solid")
    assert last == "3 scanned, 2 flagged, 1 errors, 0 skipped"


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200, None])
def test_a_row_is_one_line_whatever_its_id_and_the_width(width):
    listed = [rows.row(id=name, label=name) for name in HOSTILE] + [rows.error("\x1b" + "reason " * 600)]
    lines = [line.plain for line in VerdictTable(listed, width).lines()]
    assert len(lines) == 1 + len(listed)
    for line in lines:
        assert line.isprintable()
        assert width is None or cell_len(line) <= width
    if width is not None and width >= 80:
        assert all("trigger was found" in line for line in lines[1:-1])


def test_narrow_terminals_leave_out_numbers_before_words():
    listed = [rows.row(label="clean"), rows.confirmed("sinusoid", 7)]

    def columns(width: int) -> list[bool]:
        header = VerdictTable(listed, width).lines()[0].plain
        return [name in header for name in ("ATS", "RE bits", "clean acc", "target", "truth")]

    kept = [columns(width) for width in range(30, 200)]
    assert all(columns == sorted(columns) for columns in kept)
    assert [sum(columns) for columns in kept] == sorted(sum(columns) for columns in kept)
    assert (sum(kept[0]), sum(kept[-1])) == (0, 5)


def test_columns_that_nobody_fills_are_left_out():
    header = VerdictTable([rows.error()], None).lines()[0].plain
    assert header.split() == ["checkpoint", "verdict", "what", "was", "found"]
    probed = VerdictTable([rows.row(detectors={"probe": rows.probe()})], None).lines()[0].plain
    assert "RE bits" not in probed
    assert "truth" not in probed


def test_the_truth_column_names_the_target_where_there_is_one():
    listed = [rows.row(label="clean"), rows.row(label="backdoored", target=3), rows.row()]
    header, *lines = (line.plain for line in VerdictTable(listed, None).lines())
    at = slice(header.index("truth"), header.index("what was found"))
    assert [line[at].strip() for line in lines] == ["clean", "backdoored -> 3", ""]


def test_only_flagged_rows_have_a_target():
    listed = [rows.row(target_label=4), rows.row(target_label=5, verdict="suspect")]
    header, *lines = (line.plain for line in VerdictTable(listed, None).lines())
    end = header.index("target") + len("target")
    assert [line[:end].split()[-1] for line in lines] == ["0.322", "5"]


def test_a_terminal_gets_the_whole_sentences_of_a_few_checkpoints(terminal):
    stream = terminal()
    console.print_table([rows.confirmed("3x3 solid white patch, rows 29-31, columns 29-31")], SUMMARY)
    lines = stream.getvalue().splitlines()
    assert lines[1].endswith("…")
    said = " ".join(lines[2:-1])
    assert said == (
        "model.pth: Backdoored: a 3x3 solid white patch, rows 29-31, columns 29-31, sends 150 of 152 unseen images to "
        "label 0."
    )
    assert max(map(len, lines)) <= 80


def test_many_rows_are_counted_not_listed(log):
    console.print_table([rows.row(id=str(number)) for number in range(120)], SUMMARY, limit=100)
    lines = log().splitlines()
    assert len(lines) == 1 + 100 + 2
    assert lines[-2] == "... and 20 more"


def test_of_too_many_rows_the_worst_are_listed_first(log):
    clean = [rows.row(id=f"clean{number}", verdict="clean") for number in range(8)]
    some = [*clean, rows.error(id="failed"), rows.row(id="suspected", verdict="suspect")]
    console.print_table(some, SUMMARY, limit=10)
    assert [line.split()[0] for line in log().splitlines()[1:11]] == [row["id"] for row in some]
    console.print_table(some, SUMMARY, limit=4)
    lines = log().splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["suspected", "failed", "clean0", "clean1"]
    assert "... and 6 more" in lines
    console.print_table(some[::-1], SUMMARY, limit=1)
    assert "... and 9 more (1 errors)" in log().splitlines()
    console.print_table([some[-1]] * 3, SUMMARY, limit=1)
    assert "... and 2 more (2 flagged)" in log().splitlines()


def test_the_summary_has_what_is_known(log):
    console.print_table([], Summary(4, 1, 2, 3, 0, 0.9, 0.8, 0.7, 0.75, 4))
    assert log().splitlines()[-1] == (
        "4 scanned, 3 flagged, 1 errors, 2 skipped; AUROC of RE 0.900; AUROC of ATS 0.800; AUROC of the probe 0.700; "
        "verdicts right on 75.0% of 4 with known truth"
    )

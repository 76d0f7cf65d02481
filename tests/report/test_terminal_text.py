"""Texts from outside on one line of a terminal."""

import pytest

from xray_jax.report.terminal_text import cells, cut_end, cut_middle, distinct_tails, printable

HOSTILE = [
    "[bold red]markup[/]",
    "\x1b[31mcolour\x1b[0m\r\n\tmore\x00",
    "right\u202eto\u200fleft",
    "lone \udcff surrogate",
    "x" * 4000,
    "漢字" * 2000,
    "e\u0301" * 2000,
    "a" + "\u0301" * 4000,
    "/" * 4000,
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("width", [1, 2, 7, 12, 40])
def test_no_text_takes_more_than_its_room(text, width):
    clean = printable(text)
    assert clean.isprintable()
    clean.encode()
    for cut in (cut_end(clean, width), cut_middle(clean, width)):
        assert cells(cut) <= width
        assert cut == clean or "…" in cut


def test_what_is_cut_keeps_its_ends():
    assert cut_middle("resnet18-badnets-000123.safetensors", 20) == "resnet18-…afetensors"
    assert cut_end("resnet18-badnets", 9) == "resnet18…"
    assert cut_middle("short", 5) == cut_end("short", 5) == "short"
    assert cut_middle("漢字漢字漢字", 5) == "漢…字"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/data/zoo/a.pth", "/data/zoo/b.pth"], ["a.pth", "b.pth"]),
        (["zoo/1/model.pth", "zoo/2/model.pth", "zoo/2/other.pth"], ["1/model.pth", "2/model.pth", "other.pth"]),
        (["model.pth", "zoo/model.pth"], ["model.pth", "zoo/model.pth"]),
        (["zoo/orbax model/"], ["orbax model"]),
        (["same", "same"], ["same", "same"]),
        (["a/" * 5000 + "m", "b/" * 5000 + "m"], ["a/m", "b/m"]),
        (["a/1/2/3/4/5/6/7/8", "b/1/2/3/4/5/6/7/8"], ["a/1/2/3/4/5/6/7/8", "b/1/2/3/4/5/6/7/8"]),
        (["", "/"], ["", "/"]),
    ],
)
def test_names_are_the_shortest_distinct_tails(paths, names):
    assert distinct_tails(paths) == names

"""Flags that would do nothing beside the others are refused."""

from pathlib import Path

import pytest

from tests import commands


@pytest.mark.parametrize(
    ("line", "idle"),
    [
        (
            "xray-calibrate --rows=a.jsonl --references=b.npz --judge=c.jsonl",
            "--judge is for --evaluation",
        ),
        (
            "xray-reproduce --rows=a.jsonl --out=b.md --table=99 --figure=77",
            "--table and --figure would do nothing with --rows",
        ),
        (
            "xray-reproduce --rows=a.jsonl --out=b.md --zoo=zoo",
            "--zoo would do nothing with --rows",
        ),
        (
            "xray-reproduce --evidence=a --out=b.md --fpr=0.1",
            "--fpr would do nothing with --evidence",
        ),
    ],
)
def test_flags_without_an_effect_are_refused(
    line: str, idle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, printed = commands.run(line)
    assert (code, idle in printed) == (4, True)

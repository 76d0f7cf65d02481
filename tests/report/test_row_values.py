"""Reasons without names: one kind is one text, and nothing but a name is replaced."""

import pytest

from tests.report import rows
from xray_jax.report.row_values import kind_of_reason


@pytest.mark.parametrize(
    ("name", "path", "reason", "kind"),
    [
        ("3", "zoo/3", "3: 3 of 12 tensors are missing", "FILE: 3 of 12 tensors are missing."),
        ("3", "zoo/3", "13: 3 of 12 tensors are missing", "13: 3 of 12 tensors are missing."),
        ("b", "zoo/b", "zoo/b: byte 5 of b is wrong", "FILE: byte 5 of b is wrong."),
        ("a.pt", "zoo/a.pt", "a.pt: damaged, as is zoo/a.pt, not aa.pt or a.pt.gz", None),
        ("a.pt", "/zoo/a.pt", "cannot read '/zoo/a.pt'", "cannot read 'FILE'."),
        ("two  spaces.pt", "", "two  spaces.pt: gone", "FILE: gone."),
        ("", "", "gone", "gone."),
    ],
)
def test_only_names_are_replaced(name: str, path: str, reason: str, kind: str | None) -> None:
    expected = "FILE: damaged, as is FILE, not aa.pt or a.pt.gz." if kind is None else kind
    assert kind_of_reason(rows.error(reason, id=name, path=path)) == expected

"""Rows with something else in one of their fields: refused by name, or reported; never a crash half-way."""

import copy
import io
from collections.abc import Iterator
from typing import Any

import pytest

from tests.report import rows
from tests.report.html.conftest import scan_rows
from xray_jax.report.formats import registry
from xray_jax.report.html.build import build
from xray_jax.report.row_source import defect

GONE = object()
VALUES = (
    GONE,
    None,
    5,
    -1,
    True,
    "x",
    1e308,
    float("inf"),
    float("nan"),
    10**400,
    [],
    {},
    [1, "a"],
    {"a": {"b": [None]}},
)
Path = tuple[Any, ...]


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


def changed(row: Any, path: Path, value: Any) -> Any:
    made = copy.deepcopy(row)
    place = made
    for key in path[:-1]:
        place = place[key]
    if value is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return made


SHAPES = {"trigger": scan_rows()[0], "fused": scan_rows()[1], "error": rows.error()}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_field_of_another_kind_is_refused_or_reported(shape: str, tmp_path: Any, exhaustive: bool) -> None:
    whole = SHAPES[shape] | {"preprocess_choice": {"doubt": None, "accuracy": 0.5}, "notes": ["a"]}
    every = [
        changed(whole, path, value)
        for number, path in enumerate(paths(whole))
        # Each field has no value, and by turns the others.
        for value in (VALUES if exhaustive else (GONE, None, *VALUES[2 + number % 3 :: 3]))
    ]
    reported = [row | {"id": f"{number}"} for number, row in enumerate(every) if defect(row) is None]
    assert len(every) / 3 < len(reported) < len(every)
    assert build(reported, tmp_path).is_file()
    for name in registry.BUILT_IN:
        registry.write(name, reported, io.BytesIO())

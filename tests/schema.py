"""The check that every row of every test meets, with the reasons why it does not."""

import json
from collections.abc import Mapping
from typing import Any

from xray_jax.rows.file import encode
from xray_jax.rows.schema import validator


def faults(row: Mapping[str, Any]) -> list[str]:
    """What is wrong with a row as it would lie in a file: where, and what."""
    found = validator().iter_errors(json.loads(encode(row)))
    return [f"{error.json_path}: {error.message[:300]}" for error in found]


def check(row: Any) -> Any:
    """The row itself, which meets the schema.

    Raises:
      AssertionError: it does not; names the fields.
    """
    assert not (wrong := faults(row)), f"row {row.get('id')!r}: {'; '.join(wrong)}"
    return row

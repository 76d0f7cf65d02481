"""Whether something is a row: `schema.json`, applied as other tools would."""

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jsonschema


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) that every row meets."""
    text = resources.files("xray_jax.rows").joinpath("schema.json").read_text()
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def validator() -> "jsonschema.Draft202012Validator":
    """Tells rows, as JSON has them, from anything else."""
    # Needed by runs with worker processes alone, and a tenth of a second of a command's start.
    import jsonschema

    return jsonschema.Draft202012Validator(json_schema())


def is_row(value: Any) -> bool:
    """Whether every field that a row must have is there, and each is of its type; of anything that JSON can say."""
    try:
        return validator().is_valid(value)
    except RecursionError:
        # Lists in lists in lists, as deep as they could be read and no deeper.
        return False

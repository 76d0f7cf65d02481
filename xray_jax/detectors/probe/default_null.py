"""The default null, used where no calibration is given: no substitute for one's own.

What `xray-calibrate` makes of the rows in `docs/evidence/clean-models`, whose README lists the models and the command;
a test asserts that it is.
"""

import dataclasses
import json
from importlib import resources

from xray_jax.detectors.probe.null import Null, from_row


def _read(name: str) -> Null:
    text = resources.files("xray_jax.detectors.probe").joinpath(name).read_text()
    return dataclasses.replace(from_row(json.loads(text)), source="default")


DEFAULT_NULL = _read("default_null.json")
HINTED_NULL = _read("hinted_null.json")
"""Of the families of hinted stamps, which the models of the default null were not probed with."""


def with_hinted(null: Null) -> Null:
    """The null, with the package's ceilings for hinted stamps where it has none of its own."""
    return dataclasses.replace(
        null, ceilings={**HINTED_NULL.ceilings, **null.ceilings}, leads={**HINTED_NULL.leads, **null.leads}
    )

"""The default null, used where no calibration is given: no substitute for one's own.

What `xray-calibrate` makes of the rows in `docs/evidence/clean-models`, whose README lists the models and the commands;
a test asserts that it is.
"""

import dataclasses
import json
from importlib import resources

from xray_jax.detectors.probe.null import Null, from_row
from xray_jax.detectors.probe.stamps import FAMILIES, SEARCHED


def _read(name: str) -> Null:
    text = resources.files("xray_jax.detectors.probe").joinpath(name).read_text()
    return dataclasses.replace(from_row(json.loads(text)), source="default")


def _hinted(null: Null) -> Null:
    names = {family.name for family in FAMILIES} - {family.name for family in SEARCHED}
    ceilings, leads = (
        {name: rates for name, rates in table.items() if name in names} for table in (null.ceilings, null.leads)
    )
    return dataclasses.replace(null, ceilings=ceilings, leads=leads)


DEFAULT_NULL = _read("default_null.json")
HINTED_NULL = _hinted(_read("hinted_null.json"))
"""Of the families of hinted stamps alone: the models of the default null were not probed with them."""


def with_hinted(null: Null) -> Null:
    """The null, with the package's ceilings for hinted stamps where it has none of its own."""
    return dataclasses.replace(
        null, ceilings={**HINTED_NULL.ceilings, **null.ceilings}, leads={**HINTED_NULL.leads, **null.leads}
    )

"""The default null, used where no calibration is given: no substitute for one's own.

What `xray-calibrate` makes of the rows in `docs/evidence/clean-models`, whose README lists the models and the command;
a test asserts that it is.
"""

import dataclasses
import json
from importlib import resources

from xray_jax.detectors.probe.null import Null, from_row


def _read() -> Null:
    text = resources.files("xray_jax.detectors.probe").joinpath("default_null.json").read_text()
    return dataclasses.replace(from_row(json.loads(text)), source="default")


DEFAULT_NULL = _read()

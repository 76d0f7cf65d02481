"""Flags of the probe."""

from absl import flags

from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.scripts import command_help

with command_help.group("Probe"):
    QUERIES = flags.DEFINE_integer("probe_queries", ProbeOptions.queries, "About how many labels the probe asks for.")
    NULL = flags.DEFINE_string(
        "probe_null", None, "File of xray-calibrate --null; default: the calibration's, or the package's."
    )


def options(seed: int) -> ProbeOptions:
    """The probe's budget and seed."""
    return ProbeOptions(queries=QUERIES.value, seed=seed)

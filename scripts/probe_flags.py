"""Flags of the probe, the second stage of a scan."""

from absl import flags

from xray_jax.detectors.probe import ProbeOptions
from xray_jax.scripts import command_help
from xray_jax.sweep.batch_scan import PROBES

with command_help.group("Probe"):
    PROBE = flags.DEFINE_enum(
        "probe", "on", PROBES, "Look for a working trigger after the planes, not at all, or only."
    )
    QUERIES = flags.DEFINE_integer("probe_queries", ProbeOptions.queries, "About how many labels the probe asks for.")
    NULL = flags.DEFINE_string(
        "probe_null", None, "File of xray-calibrate --null; default: the calibration's, or the package's."
    )


def settings(seed: int) -> ProbeOptions:
    """The probe's budget and seed."""
    return ProbeOptions(queries=QUERIES.value, seed=seed)

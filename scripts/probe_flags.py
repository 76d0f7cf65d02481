"""Flags of the probe."""

from absl import flags

from xray_jax.detectors.probe.options import SEARCHES, ProbeOptions
from xray_jax.scripts import command_help

with command_help.group("Probe"):
    QUERIES = flags.DEFINE_integer(
        "probe_queries", ProbeOptions.queries, "About how many labels a full search asks for; a race a third or less."
    )
    SEARCH = flags.DEFINE_enum(
        "probe_search",
        ProbeOptions.search,
        SEARCHES,
        "race: stamps are given up as soon as they fail, the first confirmed trigger ends it, and a full search "
        "follows only where something suspicious is left. full: every family at every cost to the end, as "
        "xray-calibrate --null needs it.",
    )
    NULL = flags.DEFINE_string(
        "probe_null", None, "File of xray-calibrate --null; default: the calibration's, or the package's."
    )


def options(seed: int) -> ProbeOptions:
    """The probe's budget, search and seed."""
    return ProbeOptions(queries=QUERIES.value, search=SEARCH.value, seed=seed)

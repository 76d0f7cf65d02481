"""Flags of the probe."""

from absl import flags

from xray_jax.detectors.probe.options import ProbeOptions

QUERIES = flags.DEFINE_integer("probe_queries", ProbeOptions.queries, "About how many labels the probe asks for.")


def options(seed: int) -> ProbeOptions:
    """The probe's budget and seed."""
    return ProbeOptions(queries=QUERIES.value, seed=seed)

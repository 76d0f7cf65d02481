"""Flags that say which detectors run, and what they may use of a model."""

from absl import flags

from xray_jax.classifier import Access
from xray_jax.detectors import registry
from xray_jax.scripts import command_help

with command_help.group("Detectors"):
    DETECTORS = flags.DEFINE_list(
        "detectors", list(registry.DEFAULT), "Detectors that run, in order; with --references theirs."
    )
    ACCESS = flags.DEFINE_enum(
        "access",
        Access.WEIGHTS.name.lower(),
        [access.name.lower() for access in Access],
        "What may be used of a model: labels treats every checkpoint as a black box.",
    )
    PROBE = flags.DEFINE_enum(
        "probe", None, ["on", "off", "only"], "Old name of --detectors; goes with the next version."
    )

_OLD = {"on": ("planes", "probe"), "off": ("planes",), "only": ("probe",)}


def detectors() -> tuple[str, ...] | None:
    """Names of the detectors; None where none are named.

    Raises:
      ValueError: none is named, or the old flag contradicts the new one.
    """
    unsaid = flags.FLAGS["detectors"].using_default_value
    if not DETECTORS.value:
        raise ValueError("--detectors names none; leave it out for the default ones")
    if PROBE.value is None:
        return None if unsaid else tuple(DETECTORS.value)
    if not unsaid:
        raise ValueError(f"--probe={PROBE.value} is the old name of --detectors: give one of them")
    return _OLD[PROBE.value]


def access() -> Access:
    """What may be used of a model."""
    return Access[ACCESS.value.upper()]

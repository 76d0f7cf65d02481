"""Flags that say which detectors run, and what they may use of a model."""

from absl import flags

from xray_jax.classifier import Access
from xray_jax.detectors import registry
from xray_jax.scripts import command_help

with command_help.group("Detectors"):
    DETECTORS = flags.DEFINE_list("detectors", list(registry.DEFAULT), "Detectors that run, in order.")
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


def detectors() -> tuple[str, ...]:
    """Names of the detectors.

    Raises:
      ValueError: the old flag contradicts the new one.
    """
    if PROBE.value is None:
        return tuple(DETECTORS.value)
    if not flags.FLAGS["detectors"].using_default_value:
        raise ValueError(f"--probe={PROBE.value} is the old name of --detectors: give one of them")
    return _OLD[PROBE.value]


def access() -> Access:
    """What may be used of a model."""
    return Access[ACCESS.value.upper()]

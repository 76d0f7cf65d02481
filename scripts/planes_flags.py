"""Flags of the planes: how many, how dense, how they are asked, what is computed of them."""

from absl import flags

from xray_jax.detectors.planes import metrics, sampling
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.scripts import command_help

F, D = flags, PlanesOptions
with command_help.group("Planes"):
    PLANES = F.DEFINE_string("planes", str(D.planes), "Planes per checkpoint (N).")
    SAMPLING = F.DEFINE_enum("sampling", "refine", sampling.SAMPLINGS, "Which nodes of a plane are asked for.")
    DENSITY = F.DEFINE_integer("density", 100, "Grid nodes per axis (S).")
    EXPANSION = F.DEFINE_float("expansion", 5.0, "Reach of the grid beyond the samples, in their extents (eta).")
    ALPHA = F.DEFINE_float("alpha", 10.0, "Order of the Renyi entropy.")
    ATS_CAP = F.DEFINE_float("ats_cap", 0.5, "Share of the plane from which a sample's area is dropped (t).")
    ATS = F.DEFINE_enum("ats", "component", metrics.ATS_KINDS, "Which area counts as a sample's own.")
    SEED = F.DEFINE_integer("seed", 0, "Draws the triplets, the probe's images and its moves.")

flags.register_validator("planes", str.isdecimal, message="must be a whole number")


def options() -> PlanesOptions:
    """Options of the planes."""
    return PlanesOptions(
        planes=int(PLANES.value),
        density=DENSITY.value,
        expansion=EXPANSION.value,
        alpha=ALPHA.value,
        ats_cap=ATS_CAP.value,
        ats=ATS.value,
        seed=SEED.value,
        sampling=SAMPLING.value,
    )

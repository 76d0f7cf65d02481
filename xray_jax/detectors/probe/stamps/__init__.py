"""Stamps: candidate triggers as pure functions of image and parameters. A new family is one file and one line here."""

from xray_jax.detectors.probe.stamps.blend import BlendColour, BlendImage, BlendNoise
from xray_jax.detectors.probe.stamps.border import Border
from xray_jax.detectors.probe.stamps.cosine import Cosine
from xray_jax.detectors.probe.stamps.family import Family, Parameter, Shape, stamp
from xray_jax.detectors.probe.stamps.focus import Focus
from xray_jax.detectors.probe.stamps.given import FaintPattern, FewPixels
from xray_jax.detectors.probe.stamps.line import Line
from xray_jax.detectors.probe.stamps.mosaic import Mosaic
from xray_jax.detectors.probe.stamps.patch import Patch
from xray_jax.detectors.probe.stamps.quantise import Quantise
from xray_jax.detectors.probe.stamps.shift import Shift
from xray_jax.detectors.probe.stamps.sinusoid import Ripple, Sinusoid
from xray_jax.detectors.probe.stamps.warp import Warp

FAMILIES: tuple[Family, ...] = (
    Patch(),
    Mosaic(),
    Border(),
    Line(),
    Sinusoid(),
    Ripple(),
    Cosine(),
    Shift(),
    BlendColour(),
    BlendNoise(),
    BlendImage(),
    Quantise(),
    Warp(),
    Focus(),
    FaintPattern(),
    FewPixels(),
)
"""Every family, in the order of `Stamps.family`'s indices."""

SEARCHED = tuple(family for family in FAMILIES if family.share > 0)
"""Those that the search tries; of the others detectors that look inside give patterns."""

BY_NAME = {family.name: family for family in FAMILIES}
"""Family name -> family."""

__all__ = ["BY_NAME", "FAMILIES", "SEARCHED", "Family", "Parameter", "Shape", "stamp"]

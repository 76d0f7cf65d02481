"""Stamps: candidate triggers as pure functions of (image, parameters). A new family is one file and one line here."""

from xray_jax.stamps.blend import BlendColour, BlendImage, BlendNoise
from xray_jax.stamps.border import Border
from xray_jax.stamps.cosine import Cosine
from xray_jax.stamps.family import Family, Parameter, Shape, stamp
from xray_jax.stamps.focus import Focus
from xray_jax.stamps.line import Line
from xray_jax.stamps.mosaic import Mosaic
from xray_jax.stamps.patch import Patch
from xray_jax.stamps.quantise import Quantise
from xray_jax.stamps.shift import Shift
from xray_jax.stamps.sinusoid import Ripple, Sinusoid
from xray_jax.stamps.warp import Warp

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
)
"""Every family, in the order in which stamps number them."""

BY_NAME = {family.name: family for family in FAMILIES}

__all__ = ["BY_NAME", "FAMILIES", "Family", "Parameter", "Shape", "stamp"]

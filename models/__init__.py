"""Flax architectures under their published names: `build("preactresnet18", num_classes=10)`."""

from xray_jax.models.published import expected_shapes as expected_shapes
from xray_jax.models.registry import ARCHITECTURES as ARCHITECTURES
from xray_jax.models.registry import build as build
from xray_jax.models.registry import lookup as lookup
from xray_jax.models.registry import names as names

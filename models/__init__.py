"""Flax architectures under their published names: `registry.build("preactresnet18", num_classes=10)`."""

from xray_jax.models.architecture import Architecture as Architecture
from xray_jax.models.architecture import Inferred as Inferred
from xray_jax.models.architecture import Naming as Naming
from xray_jax.models.published import MismatchError as MismatchError
from xray_jax.models.published import expected_shapes as expected_shapes
from xray_jax.models.published import from_flax as from_flax
from xray_jax.models.published import to_tensors as to_tensors
from xray_jax.models.published import to_variables as to_variables
from xray_jax.models.registry import ARCHITECTURES as ARCHITECTURES
from xray_jax.models.registry import build as build
from xray_jax.models.registry import lookup as lookup
from xray_jax.models.registry import names as names

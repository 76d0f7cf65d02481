"""A model made ready for one set of samples, once per checkpoint: size, network variant, preprocessing, placement."""

from xray_jax.prepare.prepared import PreparedModel as PreparedModel
from xray_jax.prepare.prepared import prepare as prepare

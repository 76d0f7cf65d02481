"""Gates in residual blocks: squeeze-and-excitation (Hu et al. 2017, arXiv:1709.01507) and CBAM (arXiv:1807.06521)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Shapes, dim

KINDS = ("none", "se", "cbam", "cbam-bn")
"""No gate, squeeze-and-excitation, CBAM as most have it, CBAM with a norm behind its convolution (its authors')."""

_SPATIAL_KERNEL = 7


def apply(x: jax.Array, kind: str, width: int, bias: bool, train: bool = False) -> jax.Array:
    """Channels, and with CBAM places too, scaled by a sigmoid of what the features are like on average.

    Called in a block's `__call__`, whose submodules its layers become: `se.fc1`, `se.fc2`; `ca.fc1`, `ca.fc2`,
    `sa.conv1`, `sa.bn`.

    Args:
      x: features `[B, H, W, C]`.
      kind: one of `KINDS`.
      width: of what lies between the two linear layers.
      bias: whether these have one.
    """
    if kind == "none":
        return x
    outer = "se" if kind == "se" else "ca"
    squeeze = nn.Dense(width, use_bias=bias, name=f"{outer}.fc1")
    excite = nn.Dense(x.shape[-1], use_bias=bias, name=f"{outer}.fc2")
    scale = excite(nn.relu(squeeze(layers.average(x))))
    if kind != "se":
        scale = scale + excite(nn.relu(squeeze(jnp.max(x, axis=(1, 2)))))
    x = x * nn.sigmoid(scale)[:, None, None, :]
    if kind == "se":
        return x
    means, largest = jnp.mean(x, axis=-1, keepdims=True), jnp.max(x, axis=-1, keepdims=True)
    # CBAM's authors put the maximum first, those without a norm the mean.
    pooled = jnp.concatenate([largest, means] if kind == "cbam-bn" else [means, largest], axis=-1)
    kernel = (_SPATIAL_KERNEL, _SPATIAL_KERNEL)
    places = nn.Conv(1, kernel, padding=_SPATIAL_KERNEL // 2, use_bias=False, name="sa.conv1")(pooled)
    if kind == "cbam-bn":
        places = layers.batch_norm(train)(name="sa.bn")(places)
    return x * nn.sigmoid(places)


def read(shapes: Shapes, blocks: list[str]) -> tuple[str, tuple[int, ...], bool]:
    """(kind, width between its linear layers in each of the blocks, whether these have a bias); `blocks`: prefixes."""
    first = blocks[0] if blocks else ""
    if f"{first}.se.fc1.weight" in shapes:
        kind, outer = "se", "se"
    elif f"{first}.ca.fc1.weight" in shapes:
        kind, outer = "cbam-bn" if f"{first}.sa.bn.weight" in shapes else "cbam", "ca"
    else:
        return "none", (), True
    widths = tuple(dim(shapes, f"{block}.{outer}.fc1.weight") for block in blocks)
    return kind, widths, f"{first}.{outer}.fc1.bias" in shapes


_SE = r"\.(?:se|SE|se_module|se_layer|se_block|senet|selayer|squeeze_excitation)"
_CHANNELS = r"\.(?:ca|channel_attention|channelattention|cbam\.(?:ca|channel_attention|ChannelGate|channel_gate))"
_PLACES = r"\.(?:sa|spatial_attention|spatialattention|cbam\.(?:sa|spatial_attention|SpatialGate|spatial_gate))"
RENAMES = (
    (rf"{_SE}\.(?:fc|excitation|excite|layers|net|mlp)\.0\.", ".se.fc1."),
    (rf"{_SE}\.(?:fc|excitation|excite|layers|net|mlp)\.2\.", ".se.fc2."),
    (rf"{_SE}\.(?:fc1|conv_reduce|conv1|linear1|down|reduce|squeeze)\.", ".se.fc1."),
    (rf"{_SE}\.(?:fc2|conv_expand|conv2|linear2|up|expand|excite)\.", ".se.fc2."),
    # Behind the block's own convolutions: weiaicunzai's, kuangliu's.
    (r"(\.\d+)\.excitation\.0\.", r"\1.se.fc1."),
    (r"(\.\d+)\.excitation\.2\.", r"\1.se.fc2."),
    (r"(\.\d+)\.fc([12])\.", r"\1.se.fc\2."),
    (rf"{_CHANNELS}\.(?:fc1|(?:fc|mlp|shared_MLP|shared_mlp|sharedMLP|se)\.0)\.", ".ca.fc1."),
    (rf"{_CHANNELS}\.(?:fc2|(?:fc|mlp|shared_MLP|shared_mlp|sharedMLP|se)\.2)\.", ".ca.fc2."),
    # The authors' begins with a flatten.
    (rf"{_CHANNELS}\.mlp\.1\.", ".ca.fc1."),
    (rf"{_CHANNELS}\.mlp\.3\.", ".ca.fc2."),
    (rf"{_PLACES}\.(?:conv1|conv|spatial\.conv)\.", ".sa.conv1."),
    (rf"{_PLACES}\.(?:bn1|bn|spatial\.bn)\.", ".sa.bn."),
)
"""Published names of gates, to those used here."""

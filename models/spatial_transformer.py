"""Plain networks behind a spatial transformer (Jaderberg et al. 2015, arXiv:1506.02025), as in torch's tutorial.

A plain network of the image, `localization` and `fc_loc`, gives an affine transformation by which the image is sampled;
another one labels what comes out. Nets for traffic signs are often of this kind. Both read one image, so its size is
the one at which both fit. Beside what weights do not show of plain networks, they do not show where a pixel lies:
torch before 1.3 put the corners at the middle of the outermost pixels.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import plain, plain_layers, plain_variants
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes
from xray_jax.models.plain import PlainNet
from xray_jax.models.plain_layers import Layer

_LOCALISER, _NETWORK = "localising", "labelling"
_AFFINE = 6


class SpatialTransformer(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      localiser: gives the transformation, 2 rows of 3.
      network: labels the transformed image.
      align_corners: corners lie in the middle of the outermost pixels, not at their outer edges.
    """

    localiser: PlainNet
    network: PlainNet
    align_corners: bool = False

    @property
    def num_classes(self) -> int:
        """Number of labels of the network behind the transformer."""
        return self.network.num_classes

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        transformation = self.localiser.clone(parent=self, name=_LOCALISER)(x, train).reshape(-1, 2, 3)
        x = jax.vmap(transformed, in_axes=(0, 0, None))(x, transformation, self.align_corners)
        return self.network.clone(parent=self, name=_NETWORK)(x, train)


def transformed(image: jax.Array, transformation: jax.Array, align_corners: bool) -> jax.Array:
    """An image `[H, W, C]` sampled where an affine map `[2, 3]` of (x, y) says, bilinearly; zeros outside of it.

    Coordinates go from -1 to 1 on both axes.
    """
    height, width, _ = image.shape

    def places(length: int) -> jax.Array:
        shrunk = 1.0 if align_corners else (length - 1) / length
        return jnp.linspace(-1, 1, length, dtype=image.dtype) * jnp.asarray(shrunk, image.dtype)

    def pixels(coordinates: jax.Array, length: int) -> jax.Array:
        scaled = (coordinates + 1) * (length - 1) if align_corners else (coordinates + 1) * length - 1
        return scaled / 2

    y, x = jnp.meshgrid(places(height), places(width), indexing="ij")
    moved = jnp.einsum(
        "ij,hwj->hwi", transformation, jnp.stack([x, y, jnp.ones_like(x)], -1), precision=jax.lax.Precision.HIGHEST
    )
    columns, rows = pixels(moved[..., 0], width), pixels(moved[..., 1], height)
    left, top = jnp.floor(columns), jnp.floor(rows)
    out = jnp.zeros_like(image)
    for row, weight_y in ((top, top + 1 - rows), (top + 1, rows - top)):
        for column, weight_x in ((left, left + 1 - columns), (left + 1, columns - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            at = (
                jnp.clip(row, 0, height - 1).astype(jnp.int32),
                jnp.clip(column, 0, width - 1).astype(jnp.int32),
            )
            weight = jnp.where(inside, weight_y * weight_x, 0)
            out = out + image[at] * weight[..., None]
    return out


def infer(shapes: Shapes) -> Inferred | None:
    """Both chains of layers, and the most usual image at which the features of both have their length."""
    parts: list[plain_layers.Chain] = []
    for part in (_LOCALISER, _NETWORK):
        start = f"{part}."
        chain = plain_layers.read({key.removeprefix(start): s for key, s in shapes.items() if key.startswith(start)})
        if chain is None or not chain[0]:
            return None
        parts.append(chain)
    first, second = parts
    if first[0] != second[0] or first[2][-1].width != _AFFINE:
        return None
    found = [
        (unusual + sum(variant.cost for variant in best), side, best)
        for side, unusual in plain_variants.SIDES[first[0]].items()
        if len(best := [each for chain in parts for each in _at(side, chain)[:1]]) == len(parts)
    ]
    if not found:
        return None
    _, side, best = min(found, key=lambda each: each[0])
    localiser, network = (
        PlainNet(
            dense[-1].width,
            convs,
            (*dense[:-1], dense[-1]._replace(width=0)),
            norm=plain_layers.slots((*convs, *dense), len(convs)).norm,
            **variant.fields,
        )
        for (_, convs, dense, _), variant in zip(parts, best, strict=True)
    )
    module = SpatialTransformer(localiser, network)
    return Inferred(module, (side, side, first[0]), (note(module),))


def _at(side: int, chain: plain_layers.Chain) -> list[plain_variants.Variant]:
    channels, convs, dense, flat = chain
    return plain_variants.at(side, channels, convs, flat, plain_layers.slots((*convs, *dense), len(convs)))


def note(module: nn.Module) -> str:
    """What is assumed of a `SpatialTransformer`, for rows."""
    assert isinstance(module, SpatialTransformer)
    corners = "in the middle" if module.align_corners else "at the edges"
    return f"{plain.note(module.network)}; corners {corners} of the outermost pixels in the spatial transformer"


def variants(
    module: nn.Module, own: tuple[int, int, int], shown: tuple[int, int, int], usual: bool = False
) -> tuple[tuple[nn.Module, ...], ...]:
    """Those of the labelling network, and where the corners lie; the localiser stays as usual as it can."""
    assert isinstance(module, SpatialTransformer)
    fitting, *_ = plain.variants(module.localiser, own, shown, usual)
    if not fitting:
        return ()
    localiser = module.localiser if module.localiser in fitting else fitting[0]
    axes = [
        tuple(module.clone(localiser=localiser, network=network) for network in axis)
        for axis in plain.variants(module.network, own, shown, usual)
    ]
    return (*axes, tuple(module.clone(align_corners=aligned) for aligned in (False, True)))


def _tutorial(num_classes: int = 10) -> SpatialTransformer:
    return SpatialTransformer(
        PlainNet(
            _AFFINE,
            (Layer("localization.0", 8, 7), Layer("localization.3", 10, 5)),
            (Layer("fc_loc.0", 32), Layer("fc_loc.2", 0)),
            padding=(0, 0),
            stride=(1, 1),
            pool_after=(1, 2),
        ),
        plain.small((10, 20), 5, (50,), padding=0)(num_classes=num_classes),
    )


ARCHITECTURE = Architecture(
    name="spatial-transformer",
    presets={"stn-mnist": _tutorial},
    infer=infer,
    input_shape=(28, 28, 1),
    naming="this package",
    namings=(
        Naming(
            "torch's tutorial",
            (
                (r"^(?=(?:localization|localisation|fc_loc|loc_conv|loc_fc)[._\d])", f"{_LOCALISER}."),
                (rf"^(?!{_LOCALISER}\.)", f"{_NETWORK}."),
            ),
        ),
    ),
    variants=variants,
    note=note,
)

"""What to say of leaves that no architecture has: the networks of the same kind that are closest, and the way out."""

import math
import re
from collections.abc import Sequence

from xray_jax.checkpoints.candidates import Candidate, View
from xray_jax.models import published, registry

_CLOSE = 0.6
"""Share of the leaves, the network's and the file's, up to which a mismatch still helps to find the difference."""

_KINDS = (
    ("a detection or segmentation network", r"(^|\.)(rpn|roi_heads|anchors|mask_head|decoder|aux_classifier)\."),
    ("a transformer", r"(attn|attention|in_proj_weight|qkv|relative_position)"),
    ("an MLP mixer", r"(mlp_tokens|token_mix|tokens_mlp)"),
    ("a SqueezeNet", r"\.expand_?1x1\."),
    ("a RepVGG", r"(rbr_|conv_kxk|reparam)"),
    ("a DenseNet", r"(^|\.)(dense_?block|denselayer|dense|trans(ition)?)_?\d"),
    ("a recurrent network", r"(weight_ih_l\d|weight_hh_l\d)"),
    (
        "a network of separable convolutions",
        r"(conv_dw|depthwise|pointwise|conv_pwl|inverted|mobilenet)",
    ),
    ("a network of inverted residuals", r"features\.\d+\.\d+\.block\.\d+\.\d+\."),
    ("a network of several branches", r"branch_?\d"),
    (
        "a residual network",
        r"(shortcut|downsample|residual|(^|\.)res_?\d+|\d\.module\.|(layer|stage|block)_?\d+\.\d+\.)",
    ),
    ("a chain of convolutions", r"(^|\.)(features|conv\d*)\."),
)
"""Kinds of networks and what their published names have in common, the most telling first."""


_FIXED = "|".join(names for kind, names in _KINDS if kind in ("a transformer", "an MLP mixer"))
_FIXED_SIDE, _FREE_SIDE = 224, 32
"""Side of the images in the export line, of kinds that take one size only and of others."""


def message(views: Sequence[View], candidates: Sequence[Candidate], architecture: str | None, layout: str) -> str:
    """Says what the leaves are not, which known networks come close, and the export that would work.

    Args:
      views: the file's leaves, whole first.
      candidates: networks of families whose names the file has; none of them fits.
      architecture: what the user asked for; None where all families were tried.
      layout: of the file (`contents.Tensors`).
    """
    leaves = views[0].tensors
    which = "no known architecture has" if architecture is None else f"{architecture} does not have"
    shown = ", ".join(name[:100] for name in sorted(leaves)[:3])
    names = ", ".join(family.name for family in registry.ARCHITECTURES)
    return (
        f"{which} these {len(leaves)} leaves ({shown}, ...). {_closest(views, candidates, architecture)}. "
        f"Name another with --architecture or as `architecture` in the manifest ({names}, or a preset), with options "
        "where weights do not show them (plain:pool=avg:activation=tanh:padding=2+0:pool_after=1+2), or export the "
        f"network, which needs no architecture: {_export(leaves, layout)}"
    )


def _closest(views: Sequence[View], candidates: Sequence[Candidate], architecture: str | None) -> str:
    closest: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=Candidate.distance):
        if architecture is not None or candidate.distance() <= _CLOSE:
            closest.setdefault(candidate.family.name, candidate)
    shown = []
    for candidate in list(closest.values())[:2]:
        assert candidate.mismatch is not None
        name, sizes = candidate.describe()
        shown.append(f"{name}{sizes} (naming: {candidate.naming.name}): {candidate.mismatch.summary()}")
    if shown:
        return f"Closest: {' | '.join(shown)}"
    kind = next((kind for kind, names in _KINDS if any(re.search(names, key) for key in views[0].tensors)), None)
    return "None is close" + (f"; by its names it is {kind} of another make" if kind else "")


def _export(leaves: published.Tensors, layout: str) -> str:
    if layout == "flax":
        return (
            "jax.export.export(jax.jit(apply))(jax.ShapeDtypeStruct(jax.export.symbolic_shape('b, 32, 32, 3'), "
            "'float32')).serialize()"
        )
    kernels = (tuple(tensor.shape) for tensor in leaves.values() if len(tensor.shape) == 4)
    channels, patch = next((shape[1:3] for shape in kernels if shape[1] in (1, 3)), (3, 1))
    side = _side(leaves, patch)
    return (
        f"torch.onnx.export(model.eval(), torch.zeros(1, {channels}, {side}, {side}), 'model.onnx', input_names=['x'], "
        "dynamic_axes={'x': {0: 'batch'}})"
    )


def _side(leaves: published.Tensors, patch: int) -> int:
    """Of the images that the network takes: what a transformer's positions say, else the usual one of its kind."""
    for name, tensor in leaves.items():
        if re.search(r"(^|[._])pos(ition)?_?embed(ding)?s?$", name) and len(tensor.shape) == 3:
            return max(math.isqrt(tensor.shape[1]), 1) * patch
    return _FIXED_SIDE if any(re.search(_FIXED, name) for name in leaves) else _FREE_SIDE

"""Any readable checkpoint to one with stored metadata: published names, float32, scanned again without flags."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from xray_jax.checkpoints import formats, loading, safetensors
from xray_jax.checkpoints.contents import CheckpointError, flatten
from xray_jax.checkpoints.flax import orbax
from xray_jax.classifier import Classifier
from xray_jax.models import published
from xray_jax.preprocess import Preprocess

FORMATS = ("safetensors", "orbax")


def convert(
    path: str | Path,
    out: str | Path,
    *,
    kind: str = "safetensors",
    overwrite: bool = False,
    architecture: str | None = None,
    num_classes: int | None = None,
    preprocess: str | Mapping[str, Any] | Preprocess | None = None,
) -> Classifier:
    """Reads `path`, writes `out`, and reads it back to prove that the weights are the same, bit for bit.

    Args:
      kind: "safetensors" (one file, published state-dict names and layout, opens in torch too) or "orbax" (a directory
        with the linen tree).
      overwrite: replace `out` if it is there.
      architecture: as for `loading.load`; goes into the metadata, as the next two do.
      num_classes: as for `loading.load`.
      preprocess: as for `loading.load`.

    Returns:
      The classifier as it was read back.

    Raises:
      CheckpointError: when `path` cannot be read, is no network of a known architecture, or `out` exists.
    """
    (path, part), out = loading.split_part(path), Path(out)
    model = loading.load(path, part=part, architecture=architecture, num_classes=num_classes, preprocess=preprocess)
    if not isinstance(model, Classifier) or not isinstance(model.network, nn.Module):
        raise CheckpointError(f"{path}: it holds its own computation and scans as it is; only weights can be converted")
    if out.exists() or out.is_symlink():
        if not overwrite:
            raise CheckpointError(f"{out}: exists; give another name, or --overwrite")
        if out.resolve() == path.resolve() or path.resolve().is_relative_to(out.resolve()):
            raise CheckpointError(f"{out}: would replace its own source {path}")
        # Both writers replace only their own kind.
        shutil.rmtree(out) if out.is_dir() and not out.is_symlink() else out.unlink()
    metadata = {
        "architecture": model.architecture.split(" (")[0],
        "num_classes": model.num_classes,
        "input_shape": list(model.input_shape),
        "preprocess": model.preprocess.settings(),
        "converted_from": {"name": path.name, "sha256": formats.sha256(path)},
    }
    if kind == "orbax":
        orbax.save(out, model.variables, metadata)
    else:
        safetensors.save(out, published.to_tensors(model.variables), metadata)
    back = loading.load(out)
    assert isinstance(back, Classifier)
    before, after = flatten(model.variables), flatten(back.variables)
    if back.network != model.network or any(not np.array_equal(before[name], after.get(name)) for name in before):
        raise CheckpointError(f"{out}: does not read back as it was written; please report this")
    return back

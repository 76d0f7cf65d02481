"""Any readable checkpoint to one with stored metadata: published names, float32, scanned again without flags.

What is known is stored, and what was only assumed is not: clean samples choose the preprocessing and the network
variant of the converted file as they do of the first.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from xray_jax.checkpoints import formats, loading, safetensors
from xray_jax.checkpoints.contents import CheckpointError, flatten
from xray_jax.checkpoints.flax import orbax
from xray_jax.checkpoints.variants import HeadVariants, NetworkVariants
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
    """Reads `path`, writes it anew, reads that back to prove that the weights are the same, and puts it at `out`.

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
    metadata = {
        "architecture": _name(model),
        "num_classes": model.num_classes,
        "input_shape": list(model.input_shape),
        "converted_from": {"name": path.name, "sha256": formats.sha256(path)},
    }
    if model.preprocess_source != "assumed":
        metadata["preprocess"] = model.preprocess.settings()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name[:100]}.", dir=out.parent) as folder:
        new = Path(folder) / out.name
        if kind == "orbax":
            orbax.save(new, model.variables, metadata)
        else:
            safetensors.save(new, published.to_tensors(model.variables), metadata)
        back = _read_back(new, out, model)
        if out.is_dir() and not out.is_symlink():
            shutil.rmtree(out)
        elif new.is_dir():
            out.unlink(missing_ok=True)
        new.replace(out)
    return back


def _name(model: Classifier) -> str:
    """What to store as the architecture: the whole network, or what is known of it where the rest is open."""
    if isinstance(model.variants, NetworkVariants | HeadVariants):
        return model.variants.open_name(model.network)
    return model.architecture.split(" (")[0]


def _read_back(new: Path, out: Path, model: Classifier) -> Classifier:
    """What was written, which must be the same network with the same weights."""
    try:
        back = loading.load(new)
    except CheckpointError as error:
        raise CheckpointError(f"{out}: does not open as it was written ({error}); please report this") from error
    assert isinstance(back, Classifier)
    before, after = flatten(model.variables), flatten(back.variables)
    same = before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)
    if back.network != model.network or not same:
        raise CheckpointError(f"{out}: does not read back as it was written; please report this")
    return back

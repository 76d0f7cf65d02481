"""Run from the unpacked wheel, outside the tree: everything imports, nothing is missing, a model scans end to end."""

import importlib
import pkgutil
import sys
from pathlib import Path

import numpy as np

import xray_jax
from xray_jax.detectors.planes.detector import Planes


def main() -> None:
    here = Path(xray_jax.__file__).resolve().parent
    assert here.parent == Path.cwd().resolve(), f"imported from {here}, not from the wheel"
    optional = {"xray_jax.sweep.ray_backend"}
    scripts = "xray_jax.scripts."
    count = 0
    for module in pkgutil.walk_packages(xray_jax.__path__, "xray_jax."):
        # Each script defines its own flags, so two of them cannot live in one process.
        if module.name in optional or (module.name.startswith(scripts) and module.name != scripts + "scan"):
            continue
        importlib.import_module(module.name)
        count += 1
    for name in ("models", "scripts", "tests"):
        assert not (here.parent / name).exists(), f"the wheel installs a top-level {name}"
    assert (here / "py.typed").is_file()
    assert (here / "demo" / "manifest.jsonl").is_file(), "the demonstration zoo is missing from the wheel"

    samples = xray_jax.samples.read(here / "demo" / "samples.npz")
    first = xray_jax.collect(str(here / "demo" / "manifest.jsonl"))[0]
    model = xray_jax.checkpoints.load(first.path)
    planes = Planes(xray_jax.PlanesOptions(planes=2, density=12))
    scanned = xray_jax.scan_model(model, samples, (planes,))
    assert scanned.model.clean_accuracy > 0.5, scanned.model.clean_accuracy
    assert np.isfinite(scanned.detections["planes"].evidence.re).all()
    print(f"wheel: {count} modules import, a shipped checkpoint scans; {sys.version.split()[0]}")


if __name__ == "__main__":
    main()

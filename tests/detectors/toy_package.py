"""A package of detectors as pip would install it: a module and its dist-info, entry points and all."""

import textwrap
from pathlib import Path

MODULE = textwrap.dedent(
    '''
    """A detector of another package: how unevenly the clean samples are labelled."""
    import os
    import signal
    import subprocess
    import numpy as np
    from xray_jax.classifier import Access
    from xray_jax.detectors.detection import Detection, Statistic
    from xray_jax.inference.labels import label_images
    from xray_jax.samples import SamplesError

    class Toy:
        name, access = "toy", Access.LABELS

        def __init__(self, seed, **own):
            self.seed = seed
            vars(self).update(own)

        def settings(self):
            return {"seed": self.seed}

        def check(self, samples):
            if len(samples) < 7:
                raise SamplesError(f"samples {samples.source}: the toy needs seven")

        def detect(self, model, samples):
            labels = label_images(model.model, samples.images, model.options)
            counts = np.bincount(labels, minlength=model.num_classes)
            share = Statistic("share", float(counts.max() / counts.sum()), "high")
            details = {"counts": counts, "rare": float("nan")}
            return Detection(self.name, (share,), int(counts.argmax()), len(labels), {"toy": 0.5}, details)

    class Opened(Toy):
        """Needs what no black box gives."""
        name, access = "opened", Access.WEIGHTS

    def mute(seed):
        return object()

    def misnamed(seed):
        return Toy(seed, name="planes")

    def unsaid(seed):
        return Toy(seed, name="unsaid", settings=lambda: {"seed": {seed}})

    def leaves(seed):
        raise SystemExit(3)

    class Untold(Toy):
        """What it finds has no place in a row."""
        name = "untold"

        def detect(self, model, samples):
            return Detection(self.name, (), None, 0, {}, {"classes": {1, 2}})

    class Pill(Toy):
        """What ends a process: by a marker in the checkpoint's weights."""
        name, access = "pill", Access.WEIGHTS

        def detect(self, model, samples):
            last = model.model.variables.get("params", {}).get("linear", {"bias": [0.0]})
            match round(float(last["bias"][0])):
                case 101:
                    os.kill(os.getpid(), signal.SIGKILL)
                case 102:
                    os.abort()
                case 103:
                    held = []
                    while True:
                        held.append(np.empty(1 << 28, np.uint8))
                case 104:
                    subprocess.run(["sleep", "1000"])
            return Detection(self.name, (), None, 0, {}, {})

    class Fails(Toy):
        name = "fails"

        def detect(self, model, samples):
            return {}["nothing"]
    '''
)

ENTRY_POINTS = """
[xray_jax.detectors]
toy = toy_detectors:Toy
opened = toy_detectors:Opened
planes = toy_detectors:mute
mute = toy_detectors:mute
misnamed = toy_detectors:misnamed
unsaid = toy_detectors:unsaid
leaves = toy_detectors:leaves
untold = toy_detectors:Untold
fails = toy_detectors:Fails
pill = toy_detectors:Pill
absent = toy_that_is_not_there:Toy
both = toy_detectors:Toy
"""


def install(site: Path) -> Path:
    """Puts the package, and a second one that provides `both` as well, into a folder for `sys.path`."""
    site.mkdir()
    (site / "toy_detectors.py").write_text(MODULE)
    _dist_info(site, "toy-detectors", ENTRY_POINTS)
    _dist_info(site, "other-toys", "[xray_jax.detectors]\nboth = toy_detectors:Toy\n")
    return site


def _dist_info(site: Path, name: str, entry_points: str) -> None:
    info = site / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(entry_points)

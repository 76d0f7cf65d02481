"""Settings of the benchmark cases."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Sizes of the cases.

    Attributes:
      architectures: presets of the registry.
      batches: batch sizes of the forward case.
      repeats: measured runs of each thing, at least 1.
      planes: of a scan, at least 1.
      density: nodes along each side of a plane, at least 1.
      points: queries of one measured pass of the cases that do not scan, at least 1.
      precision: see `InferenceOptions`.
      batch_size: of everything but the forward case; None is the default.
      maps: label maps (`xray-scan --save_maps`) of a trained network, replayed to the refinement: which nodes it asks
        for depends on the map, and a network with random weights has none worth the name. None: a random network's.
        For the fidelity case a glob of such files.
      checkpoints: of the sweep, at least 1.
      sampling: of the sweep's planes.
      together: networks of the accelerator case that run side by side, at least 1.
      detectors: of the sweep.
      zoo: manifest with labels and targets, of the probe case.
      samples: file of clean images, of the probe case.

    Raises:
      ValueError: a number is below 1.
    """

    architectures: tuple[str, ...] = ("preactresnet18",)
    batches: tuple[int, ...] = (8, 16, 32, 64, 128)
    repeats: int = 5
    planes: int = 20
    density: int = 100
    points: int = 2048
    precision: str = "float32"
    batch_size: int | None = None
    maps: str | None = None
    checkpoints: int = 200
    sampling: str = "refine"
    together: int = 8
    detectors: tuple[str, ...] = ("planes",)
    zoo: str | None = None
    samples: str | None = None

    def __post_init__(self) -> None:
        for name in ("repeats", "planes", "density", "points", "checkpoints", "together"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")

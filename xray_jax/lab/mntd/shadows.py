"""Shadow models of MNTD: small training sets, half of them poisoned; one file each, so that a killed run goes on."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xray_jax import checkpoints, models
from xray_jax.checkpoints import safetensors
from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.classifier import Classifier
from xray_jax.lab.data import ImageSet
from xray_jax.lab.mntd import jumbo
from xray_jax.lab.train_model import accuracy
from xray_jax.lab.train_vmapped import train_vmapped
from xray_jax.lab.training import TrainOptions, Variables, train
from xray_jax.models import published

Report = Callable[[str], None]
"""Takes one line of progress."""
KINDS = ("clean", "jumbo")
MEASURED = 1000
"""Test images that a shadow is measured on, at most."""


@dataclass(frozen=True)
class ShadowOptions:
    """How shadow models are trained.

    Attributes:
      architecture: a preset of the registry: that of the models to be judged.
      share: of the training images that all shadows see.
      training: the schedule; its seed is replaced by each shadow's own.
      seed: draws the images, triggers and initialisations.
    """

    architecture: str = "preactresnet-small"
    share: float = 0.02
    training: TrainOptions = field(default_factory=lambda: TrainOptions(epochs=10))
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "training", dataclasses.replace(self.training, seed=0))
        if not 0 < self.share <= 1:
            raise ValueError(f"share of the training images must lie in (0, 1], got {self.share}")


@dataclass(frozen=True)
class Shadow:
    """One shadow model.

    Attributes:
      kind: "clean" or "jumbo".
      number: within its kind; with the seed it says everything.
      variables: its weights.
      accuracy: on clean test images.
      success: share of stamped test images that get the target; None for a clean one.
    """

    kind: str
    number: int
    variables: Variables
    accuracy: float
    success: float | None


def train_shadows(
    data: ImageSet,
    options: ShadowOptions,
    numbers: Sequence[int],
    folder: Path,
    together: int = 1,
    report: Report = lambda line: None,
) -> list[Shadow]:
    """The shadows of both kinds with these numbers; those that the folder holds already are read.

    Args:
      data: images of the task.
      options: of the training; a folder holds shadows of one set of options.
      numbers: of either kind.
      folder: `<kind>-<number>.safetensors` each.
      together: so many are trained at once by vmap.
      report: takes a line a shadow.

    Raises:
      ValueError: the folder holds shadows of other options, or the share of the images fills no batch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    planned = [(kind, number) for number in numbers for kind in KINDS]
    missing = [each for each in planned if not _path(folder, *each).exists()]
    for start in range(0, len(missing), together):
        _train(data, options, missing[start : start + together], folder, report)
    return [_read(folder, kind, number, _settings(data, options)) for kind, number in planned]


def trigger_of(data: ImageSet, options: ShadowOptions, kind: str, number: int) -> jumbo.JumboTrigger | None:
    """The trigger of one shadow, drawn from seed and number."""
    if kind == "clean":
        return None
    return jumbo.draw(np.random.default_rng([options.seed, 1, number]), data.image_shape, data.num_classes)


def clean_part(data: ImageSet, options: ShadowOptions) -> tuple[np.ndarray, np.ndarray]:
    """The clean images that all shadows share, and their labels."""
    count = max(1, round(options.share * len(data.train_images)))
    drawn = np.random.default_rng([options.seed, 0]).choice(len(data.train_images), count, replace=False)
    return data.train_images[drawn], data.train_labels[drawn]


def _train(
    data: ImageSet, options: ShadowOptions, group: Sequence[tuple[str, int]], folder: Path, report: Report
) -> None:
    started = time.perf_counter()
    network = models.build(options.architecture, data.num_classes)
    images, labels = clean_part(data, options)
    triggers = [trigger_of(data, options, *each) for each in group]
    sets, recipes = [], []
    for (kind, number), trigger in zip(group, triggers, strict=True):
        generator = np.random.default_rng([options.seed, 2, KINDS.index(kind), number])
        sets.append(jumbo.training_set(images, labels, trigger, generator))
        recipes.append(dataclasses.replace(options.training, seed=int(generator.integers(1 << 31))))
    if len(group) == 1:
        trained = [train(network, *sets[0], data.normalise, recipes[0])]
    else:
        trained = train_vmapped(network, [s[0] for s in sets], [s[1] for s in sets], data.normalise, recipes)
    seconds = (time.perf_counter() - started) / len(group)
    shown, wanted = data.test_images[:MEASURED], data.test_labels[:MEASURED]
    for (kind, number), trigger, variables in zip(group, triggers, trained, strict=True):
        host = jax.device_get(variables)
        clean, success = accuracy(network, host, data.normalise, shown, wanted), None
        if trigger is not None:
            targets = np.full(len(shown), trigger.target)
            success = accuracy(network, host, data.normalise, trigger.stamp(shown), targets)
        metadata = {
            "architecture": options.architecture,
            "num_classes": data.num_classes,
            "input_shape": list(data.image_shape),
            "preprocess": data.normalise.settings(),
            "shadow": {**_settings(data, options), "accuracy": clean, "success": success},
        }
        safetensors.save(_path(folder, kind, number), published.to_tensors(host), metadata)
        said = "" if success is None else f", attack success {success:.3f}"
        report(f"shadow {kind} {number}: accuracy {clean:.3f}{said}, {seconds:.1f} s")


def _settings(data: ImageSet, options: ShadowOptions) -> Mapping[str, Any]:
    return {"dataset": data.name, "options": dataclasses.asdict(options)}


def _path(folder: Path, kind: str, number: int) -> Path:
    return folder / f"{kind}-{number:05d}.safetensors"


def _read(folder: Path, kind: str, number: int, settings: Mapping[str, Any]) -> Shadow:
    path = _path(folder, kind, number)
    try:
        told, model = safetensors.read(path).metadata.get("shadow", {}), checkpoints.load(path)
    except CheckpointError as error:
        raise ValueError(f"{path}: {error}; delete it, and it is trained again") from error
    if not isinstance(model, Classifier) or any(told.get(name) != value for name, value in settings.items()):
        raise ValueError(f"{path}: a shadow of other settings; give another folder, or delete that one's")
    return Shadow(kind, number, model.variables, told["accuracy"], told["success"])

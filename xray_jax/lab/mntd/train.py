"""One meta-classifier of MNTD, from a data set to its file."""

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax import models
from xray_jax.detectors.mntd import meta_classifier
from xray_jax.detectors.mntd.meta_classifier import MetaClassifier
from xray_jax.lab.data import ImageSet
from xray_jax.lab.mntd.shadows import Report, ShadowOptions, clean_part, train_shadows
from xray_jax.lab.mntd.tuning import Scale, TuneOptions, scores, tune

SHADOWS, FILE = "shadows", "meta_classifier.safetensors"


@dataclass(frozen=True)
class MntdOptions:
    """What a meta-classifier is made of.

    Attributes:
      count: shadows of each kind that it is trained on; the paper's tables have 1,024, MNTD's authors 2,048.
      validation: further shadows of each kind, which choose the epoch.
      shadows: how they are trained.
      tuning: of queries and meta-classifier.
    """

    count: int = 32
    validation: int = 8
    shadows: ShadowOptions = field(default_factory=ShadowOptions)
    tuning: TuneOptions = field(default_factory=TuneOptions)

    def __post_init__(self) -> None:
        if self.count < 1 or self.validation < 0:
            raise ValueError(
                f"shadows must be at least 1 and validation shadows 0, got {self.count} and {self.validation}"
            )


def train_meta_classifier(
    data: ImageSet, options: MntdOptions, folder: Path, together: int = 1, report: Report = lambda line: None
) -> MetaClassifier:
    """Trains shadows in `<folder>/shadows`, tunes, and writes `<folder>/meta_classifier.safetensors`.

    Killed, the same call goes on after the last whole shadow. More shadows of the same seed later begin with those that
    are there.

    Args:
      data: images of the task.
      options: how many shadows, and how they and the meta-classifier are trained.
      folder: is made where it does not exist.
      together: shadows trained at once by vmap.
      report: takes lines of progress.

    Raises:
      ValueError: the folder holds shadows of other options.
    """
    started = time.perf_counter()
    numbers = range(options.count + options.validation)
    held = train_shadows(data, options.shadows, numbers, folder / SHADOWS, together, report)
    training = [shadow for shadow in held if shadow.number < options.count]
    validation = [shadow for shadow in held if shadow.number >= options.count]
    network = models.build(options.shadows.architecture, data.num_classes)
    scale = Scale.of(clean_part(data, options.shadows)[0])
    trained = time.perf_counter()
    tuned = tune(
        network, data.normalise, scale, data.image_shape, data.num_classes, training, validation, options.tuning
    )
    placed = tuple(map(jnp.asarray, scale))
    found = scores(jax.tree.map(jnp.asarray, tuned.params), training, network, data.normalise, placed)
    poisoned = [shadow for shadow in held if shadow.success is not None]
    told = {
        "dataset": data.name,
        "options": dataclasses.asdict(options),
        "shadow_accuracy": float(np.mean([shadow.accuracy for shadow in held])),
        "shadow_success": float(np.mean([shadow.success for shadow in poisoned])),
        "losses": tuned.losses,
        "validation_auroc": tuned.auroc,
        "epoch": tuned.epoch,
    }
    layers = {name: array for name, array in tuned.params.items() if name != "queries"}
    made = MetaClassifier(queries=tuned.queries, **layers, threshold=float(np.median(found)), training=told)
    meta_classifier.save(folder / FILE, made)
    area = f", validation AUROC {tuned.auroc[tuned.epoch - 1]:.3f}" if tuned.auroc else ""
    report(
        f"{folder / FILE}: loss {tuned.losses[0]:.3f} to {tuned.losses[-1]:.3f}{area}, epoch {tuned.epoch}; "
        f"shadows {trained - started:.0f} s, tuning {time.perf_counter() - trained:.0f} s"
    )
    return made

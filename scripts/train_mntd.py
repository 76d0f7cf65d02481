r"""Trains a meta-classifier for the detector mntd.

  xray-train-mntd --data=../shared/data --dataset=cifar10 --out=mntd/
  xray-scan --checkpoints=zoo/ --samples=cifar10 --detectors=mntd --meta_classifier=mntd/meta_classifier.safetensors

Network and recipe are by default those of xray-train for the data set, but for the epochs.
Shadow models lie in --out/shadows, the meta-classifier beside them. Interrupted, the same command goes on after the
last whole shadow; with more --shadows later it begins with those that are there. Exit codes: 0 written, 2 error,
4 usage.
"""

from pathlib import Path

from absl import flags

from xray_jax import models
from xray_jax.inference.compile_cache import enable_compile_cache
from xray_jax.lab import data, recipes
from xray_jax.lab.mntd.shadows import ShadowOptions
from xray_jax.lab.mntd.train import MntdOptions, train_meta_classifier
from xray_jax.lab.mntd.tuning import TuneOptions
from xray_jax.lab.training import OPTIMISERS
from xray_jax.scripts import command, command_help

F, D, S = flags, MntdOptions, ShadowOptions()
with command_help.group("What to train for"):
    DATA = F.DEFINE_string("data", None, "Folder of image sets.", required=True)
    DATASET = F.DEFINE_string("dataset", "cifar10", "Image set: <data>/<name>.npz, or mosaics <name>-train-0.webp ...")
    ARCHITECTURE = F.DEFINE_enum(
        "architecture", None, models.names(), "Network of the models to be judged; by default the data set's small one."
    )
    OUT = F.DEFINE_string("out", None, "Folder of shadows and meta-classifier.", required=True)
with command_help.group("Shadow models"):
    SHADOWS = F.DEFINE_integer(
        "shadows", D.count, "Of each kind, clean and poisoned, to train on; the paper: 1024.", lower_bound=1
    )
    VALIDATION = F.DEFINE_integer("validation", D.validation, "Of each kind, to choose the epoch.", lower_bound=0)
    SHARE = F.DEFINE_float("share", S.share, "Share of the training images that shadows see.", 0, 1)
    EPOCHS = F.DEFINE_integer("epochs", S.training.epochs, "Of a shadow; MNTD's authors: 100.", lower_bound=1)
    BATCH_SIZE = F.DEFINE_integer(
        "batch_size", None, "Images a step; by default, as for what follows, the data set's.", lower_bound=1
    )
    LEARNING_RATE = F.DEFINE_float("learning_rate", None, "Top of the one-cycle schedule.", lower_bound=0)
    OPTIMISER = F.DEFINE_enum("optimiser", None, OPTIMISERS, "SGD with momentum, or AdamW.")
    TOGETHER = F.DEFINE_integer(
        "together", 1, "Shadows trained at once by vmap: for accelerators; slower on CPU.", lower_bound=1
    )
with command_help.group("Meta-classifier"):
    TUNE_EPOCHS = F.DEFINE_integer("tune_epochs", TuneOptions.epochs, "Passes over the shadows.", lower_bound=1)
    SEED = F.DEFINE_integer("seed", 0, "Of images, triggers, shadows and queries.", lower_bound=0)


def main() -> int:
    """Flags to one `train_meta_classifier`."""
    enable_compile_cache()
    images = data.read(DATASET.value, DATA.value)
    pair = recipes.pair_of(DATASET.value)
    recipe = recipes.changed(
        pair.training, epochs=EPOCHS.value, batch_size=BATCH_SIZE.value, peak_learning_rate=LEARNING_RATE.value,
        optimiser=OPTIMISER.value, flip=images.flip,
    )  # fmt: skip
    options = MntdOptions(
        count=SHADOWS.value,
        validation=VALIDATION.value,
        shadows=ShadowOptions(ARCHITECTURE.value or pair.architecture, SHARE.value, recipe, SEED.value),
        tuning=TuneOptions(epochs=TUNE_EPOCHS.value, seed=SEED.value),
    )
    train_meta_classifier(
        images, options, Path(OUT.value), TOGETHER.value,
        lambda line: command.say(f"xray-train-mntd: {line}"),
    )  # fmt: skip
    return 0


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

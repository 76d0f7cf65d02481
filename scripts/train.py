r"""Trains a zoo of clean and backdoored models with known ground truth.

  xray-train --data=../shared/data --dataset=cifar10 --attacks=clean,badnets --targets=0,3,5,8 --count=4 --out=zoo/

writes orbax checkpoints, records.jsonl (clean accuracy, attack success) and manifest.jsonl (for xray-scan) into --out.
Network and recipe are by default those that belong to the data set: two to ten minutes a model on one CPU core, and no
less on two; --workers=2 trains two at once. Interrupted, the same command goes on where it stopped. Exit codes: 0 every
model is usable, 1 some failed (too little attack success or clean accuracy, or their process died), 2 error, 4 usage.
"""

from pathlib import Path

from absl import flags

from xray_jax import models
from xray_jax.inference.compile_cache import enable_compile_cache
from xray_jax.lab import attacks, clean_models, data, plan_check, plans, recipes, workers, zoo
from xray_jax.lab.adaptive.kinds import KINDS
from xray_jax.lab.controls import CONTROLS, NONE
from xray_jax.lab.specs import CLEAN, takes_start
from xray_jax.lab.training import OPTIMISERS, PRECISIONS, TrainOptions
from xray_jax.lab.worker import Place
from xray_jax.scripts import command, unused_flags

F = flags
DATA = F.DEFINE_string("data", None, "Folder of image sets.", required=True)
OUT = F.DEFINE_string("out", None, "Folder of the zoo.", required=True)
DATASET = F.DEFINE_string(
    "dataset",
    "cifar10",
    "Image set: <data>/<name>.npz, or mosaics <name>-train-0.webp ...; NAME@SIDE: its images at SIDE pixels.",
)
ARCHITECTURE = F.DEFINE_enum(
    "architecture", None, models.names(), "Network; by default the small one that belongs to the data set."
)
ATTACKS = F.DEFINE_list("attacks", [CLEAN], f"Of {CLEAN}, {', '.join(attacks.ATTACKS)}.")
ADAPTIVE = F.DEFINE_string(
    "adaptive", "", f"What the attackers evade: some of {', '.join(KINDS)}, joined by +; of attacks by patch or blend."
)
START_FROM = F.DEFINE_string(
    "start_from",
    None,
    "Zoo of trained clean models that --adaptive, and pruned, quantised and finetuned controls, start from.",
)
CONTROL = F.DEFINE_enum("control", NONE, list(CONTROLS), "What makes clean models unusual.")
STRATEGY = F.DEFINE_string("strategy", "all-to-one", "all-to-one, one-to-one, 5-to-one, 5-to-5, all-to-all ...")
TARGETS = F.DEFINE_list("targets", ["0"], "Target labels; the models of an attack take them in turn.")
COUNT = F.DEFINE_integer("count", 1, "Models of each attack.", lower_bound=1)
RATE = F.DEFINE_float("rate", 0.1, "Poisoned images as a share of the training set.", 0, 1)
SEED = F.DEFINE_integer("seed", 0, "Of the first model; the others count on.", lower_bound=0)
EPOCHS = F.DEFINE_integer(
    "epochs", None, "Passes over the training images; by default, as for what follows, the data set's.", lower_bound=1
)
BATCH_SIZE = F.DEFINE_integer("batch_size", None, "Images a step.", lower_bound=1)
LEARNING_RATE = F.DEFINE_float("learning_rate", None, "Top of the one-cycle schedule.", lower_bound=0)
OPTIMISER = F.DEFINE_enum("optimiser", None, OPTIMISERS, "SGD with momentum, or AdamW.")
CROP_PADDING = F.DEFINE_integer("crop_padding", None, "Pixels around the random crop; 0: no crop.", 0)
PRETRAINED = F.DEFINE_string(
    "pretrained",
    None,
    "Checkpoint of the same network, trained on another data set, whose weights every training begins with.",
)
PRECISION = F.DEFINE_enum(
    "precision", TrainOptions.precision, PRECISIONS, "Arithmetic of the training; bfloat16 is for accelerators."
)
TOGETHER = F.DEFINE_integer(
    "together", 1, "Models of one recipe trained at once by vmap: for accelerators; slower on CPU.", lower_bound=1
)
WORKERS = F.DEFINE_integer(
    "workers", 1, "Processes that train one model each at a time, pinned to their share of the CPUs.", lower_bound=1
)


def main() -> int:
    """Flags to one `zoo.train_zoo`."""
    enable_compile_cache()
    if unknown := sorted(set(ATTACKS.value) - {CLEAN, *attacks.ATTACKS}):
        raise ValueError(f"--attacks: unknown {unknown}; known: {', '.join([CLEAN, *attacks.ATTACKS])}")
    if not all(target.isdecimal() for target in TARGETS.value):
        raise ValueError(f"--targets: expected whole numbers, got {TARGETS.value}")
    if WORKERS.value > 1 and TOGETHER.value > 1:
        raise ValueError("--together is for one accelerator and --workers for several processors: give one of them")
    _refuse_without_effect()
    images = data.read(DATASET.value, DATA.value)
    pair = recipes.pair_of(DATASET.value)
    architecture = ARCHITECTURE.value or pair.architecture
    starts = None if START_FROM.value is None else Path(START_FROM.value)
    planned = list(plans.grid(
        ATTACKS.value,
        [int(target) for target in TARGETS.value],
        COUNT.value,
        dataset=DATASET.value,
        architecture=architecture,
        strategy=STRATEGY.value,
        control=CONTROL.value,
        adaptive=ADAPTIVE.value,
        starts=clean_models.names(starts, DATASET.value, architecture) if starts else [],
        rate=RATE.value,
        first_seed=SEED.value,
        training=recipes.changed(
            pair.training, epochs=EPOCHS.value, batch_size=BATCH_SIZE.value, peak_learning_rate=LEARNING_RATE.value,
            optimiser=OPTIMISER.value, crop_padding=CROP_PADDING.value, flip=images.flip, precision=PRECISION.value,
            pretrained=PRETRAINED.value,
        ),
    ))  # fmt: skip
    plan_check.check_possible(planned, images.num_classes)
    lost: list[str] = []
    if WORKERS.value > 1:
        place = Place(DATASET.value, Path(DATA.value), Path(OUT.value), starts)
        records, lost = workers.train_zoo(planned, place, WORKERS.value, report)
    else:
        records = zoo.train_zoo(planned, images, Path(OUT.value), report, TOGETHER.value, starts)
    return int(bool(lost) or any(record["failed"] for record in records))


def _refuse_without_effect() -> None:
    """Stops where a flag is given for models that the call does not ask for."""
    attacked = set(ATTACKS.value) - {CLEAN}
    if CLEAN not in ATTACKS.value:
        unused_flags.refuse([CONTROL], "is of clean models: add clean to --attacks")
    if not attacked:
        unused_flags.refuse([ADAPTIVE, STRATEGY, TARGETS, RATE], "is of attacks: add one to --attacks")
    takes = {takes_start(CONTROL.value, "") if attack == CLEAN else takes_start("", ADAPTIVE.value)
             for attack in ATTACKS.value}  # fmt: skip
    if not any(takes):
        unused_flags.refuse(
            [START_FROM], "is of --adaptive and of pruned, quantised and finetuned controls: give one of these too"
        )


def report(line: str) -> None:
    """A line of progress on stderr."""
    command.say(f"xray-train: {line}")


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

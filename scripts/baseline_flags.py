"""Flags of the paper's baselines."""

import dataclasses

from absl import flags

from xray_jax.detectors.neural_cleanse.options import PRESETS, NeuralCleanseOptions
from xray_jax.scripts import command_help

with command_help.group("Baselines"):
    NEURAL_CLEANSE = flags.DEFINE_enum(
        "neural_cleanse", "cheap", list(PRESETS), "Schedule of the detector neural_cleanse; paper: as BackdoorBench's."
    )
    META_CLASSIFIER = flags.DEFINE_string(
        "meta_classifier", None, "File of xray-train-mntd, which the detector mntd needs."
    )


def neural_cleanse(seed: int) -> NeuralCleanseOptions:
    """Options of Neural Cleanse."""
    return dataclasses.replace(PRESETS[NEURAL_CLEANSE.value], seed=seed)

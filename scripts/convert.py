r"""Converts a checkpoint of any readable format to one that scans again without flags.

  xray-convert --checkpoint=attack_result.pt --out=model.safetensors --preprocess=cifar10
  xray-convert --checkpoint=model.th --out=model_orbax --format=orbax

The weights are written as float32 under their published names (safetensors) or as a Flax tree (orbax), with
architecture, class count, input shape and preprocessing in the metadata, and read back to prove them equal. What was
found is printed to stderr; what was only assumed of the network or its preprocessing stays open, for the samples of a
scan to choose. Exit codes: 0 written, 2 not readable or not writable, 4 usage.
"""

from absl import flags

from xray_jax.checkpoints import CheckpointError, convert
from xray_jax.scripts import command, command_help

with command_help.group("What to convert"):
    CHECKPOINT = flags.DEFINE_string("checkpoint", None, "File or directory to read.", required=True)
    ARCHITECTURE = flags.DEFINE_string("architecture", None, "Family or preset; default: recognise.")
    NUM_CLASSES = flags.DEFINE_integer(
        "num_classes", None, "Checked against the weights; default: read off.", lower_bound=1
    )
    PREPROCESS = flags.DEFINE_string("preprocess", None, "Preset to store; default: the file's own, else none.")
with command_help.group("Output"):
    OUT = flags.DEFINE_string("out", None, "File (safetensors) or directory (orbax) to write.", required=True)
    FORMAT = flags.DEFINE_enum("format", "safetensors", convert.FORMATS, "What to write.")
    OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace --out if it exists.")


def main() -> int:
    """Flags to one `converting.convert`."""
    try:
        model = convert.convert(
            CHECKPOINT.value,
            OUT.value,
            kind=FORMAT.value,
            overwrite=OVERWRITE.value,
            architecture=ARCHITECTURE.value,
            num_classes=NUM_CLASSES.value,
            preprocess=PREPROCESS.value,
        )
    except CheckpointError as error:
        command.say(f"xray-convert: {error}")
        return command.EXIT_ERROR
    shape = "x".join(map(str, model.input_shape))
    command.say(f"{OUT.value}: {model.architecture}, {model.num_classes} classes, images {shape}")
    for note in model.notes:
        command.say(f"  {note}")
    return 0


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

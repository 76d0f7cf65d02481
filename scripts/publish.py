r"""Publishes trained models with what repeats their numbers, or checks a published zoo.

  xray-publish --zoo=zoo/cifar10 --data=../shared/data --models=lab/manifest.jsonl
  xray-publish --zoo=zoo/cifar10 --data=../shared/data --check

The first adds every usable model of an xray-train folder: half-precision weights, the trigger as data, and a line of
manifest.jsonl with ground truth, recipe, and clean accuracy and attack success measured from these files; it also
writes the numbers of DATASHEET.md beside the zoo. The second repeats both shares from the zoo's files and the test
images alone. Some ten seconds a model on two CPU cores; a trigger that has to be recomputed takes a minute or two.
Exit codes: 0 all models published or repeated, 1 some left out or differing, 2 error, 4 usage.
"""

from pathlib import Path

from absl import flags

from xray_jax.inference.compile_cache import enable_compile_cache
from xray_jax.lab import data, datasheet, publish, published
from xray_jax.scripts import command, unused_flags

F = flags
ZOO = F.DEFINE_string("zoo", None, "Folder of the published zoo.", required=True)
DATA = F.DEFINE_string("data", None, "Folder of image sets.", required=True)
MODELS = F.DEFINE_string("models", None, "Manifest of trained models to add: manifest.jsonl of an xray-train folder.")
RECORDS = F.DEFINE_string("records", None, "Folder with their records.jsonl; default: that of --models.")
DATASET = F.DEFINE_string("dataset", "cifar10", "Image set of the models to add.")
CHECK = F.DEFINE_bool("check", False, "Measure every published model again and compare with the manifest.")


def main() -> int:
    """Flags to one `publish.publish` or one `published.check`."""
    enable_compile_cache()
    if CHECK.value == bool(MODELS.value):
        raise ValueError("give either --models, to publish, or --check")
    if CHECK.value:
        unused_flags.refuse([RECORDS, DATASET], "is of --models, and would do nothing with --check")
    return _publish(Path(ZOO.value), Path(MODELS.value)) if MODELS.value else _check(Path(ZOO.value))


def _publish(folder: Path, manifest: Path) -> int:
    records = Path(RECORDS.value) if RECORDS.value else manifest.parent
    skipped = publish.publish(manifest, records, folder, data.read(DATASET.value, DATA.value), _report)
    if (sheet := folder.parent / "DATASHEET.md").exists():
        datasheet.update(sheet)
    return int(bool(skipped))


def _check(folder: Path) -> int:
    names = {line["spec"]["dataset"] for line in published.read_manifest(folder)}
    differing = 0
    for model, wrong in published.check(folder, {name: data.read(name, DATA.value) for name in sorted(names)}):
        differing += bool(wrong)
        _report(f"{model}: {'; '.join(wrong) or 'repeated'}")
    for name in (more := published.unnamed_files(folder)):
        _report(f"{name}: not in the manifest")
    return int(bool(differing or more))


def _report(line: str) -> None:
    command.say(f"xray-publish: {line}")


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

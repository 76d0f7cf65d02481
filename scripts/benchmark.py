r"""Measures the scanner on this machine.

  xray-bench --case=forward --architectures=preactresnet18 --out=docs/benchmarks.jsonl
  xray-bench --case=compare --maps=maps/clean.npz
  xray-bench --case=quick --against=quick.jsonl
  xray-bench --case=sweep --detectors=planes,probe --planes=20

Figures are medians over repeats that take turns, with half the range between the quartiles as spread. The manifest of
versions, device, flags and load comes first on stdout, then a Markdown table. Expect 5 to 20 minutes a case on two
quiet cores; `--points=256 --repeats=2` is a smoke test.
"""

import json

from absl import flags

from xray_jax import bench
from xray_jax.inference.options import PRECISIONS
from xray_jax.scripts import command, command_help, unused_flags

with command_help.group("What to measure"):
    CASE = flags.DEFINE_multi_enum("case", ["forward"], sorted(bench.CASES), "What to measure.")
    ARCHITECTURES = flags.DEFINE_list("architectures", ["preactresnet18"], "Presets to measure.")
    PRECISION = flags.DEFINE_enum("precision", "float32", PRECISIONS, "Arithmetic of the networks.")
    MAPS = flags.DEFINE_string("maps", None, "Label maps of a trained network to replay (xray-scan --save_maps).")
    DETECTORS = flags.DEFINE_list("detectors", ["planes"], "Detectors of --case=sweep.")
    ZOO = flags.DEFINE_string("zoo", None, "Manifest with labels and targets, for --case=probe.")
    SAMPLES = flags.DEFINE_string("samples", None, "Clean images, for --case=probe.")
with command_help.group("How much of it"):
    REPEATS = flags.DEFINE_integer("repeats", 5, "Measured runs of each thing.")
    BATCHES = flags.DEFINE_list("batches", ["8", "16", "32", "64", "128"], "Batch sizes of --case=forward.")
    BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "Batch size of the other cases; default: by backend.")
    PLANES = flags.DEFINE_integer("planes", 20, "Planes of a scan (N).")
    DENSITY = flags.DEFINE_integer("density", 100, "Grid nodes per axis (S).")
    POINTS = flags.DEFINE_integer("points", 2048, "Queries of one measured pass.")
    CHECKPOINTS = flags.DEFINE_integer("checkpoints", 200, "Checkpoints of --case=sweep.")
    TOGETHER = flags.DEFINE_integer("together", 8, "Small networks side by side, of --case=accelerator.")
    SAMPLING = flags.DEFINE_enum("sampling", "refine", ["grid", "refine", "sketch"], "How --case=sweep asks.")
with command_help.group("Output"):
    OUT = flags.DEFINE_string("out", None, "Also write manifest and figures there, as JSON lines.")
    AGAINST = flags.DEFINE_string(
        "against",
        None,
        "An earlier --out of the same options: both side by side, exit code 1 if queries or ratios of times got worse.",
    )

_SETTINGS = (
    ARCHITECTURES, PRECISION, MAPS, DETECTORS, ZOO, SAMPLES, REPEATS, BATCHES, BATCH_SIZE, PLANES, DENSITY, POINTS,
    CHECKPOINTS, TOGETHER, SAMPLING,
)  # fmt: skip


def main() -> int:
    """Flags to cases to a table."""
    for flag in _SETTINGS:
        of = [case for case, used in bench.USED.items() if flag.name in used]
        if not set(of) & set(CASE.value):
            unused_flags.refuse([flag], f"would do nothing: it is of --case={' or '.join(of)}")
    options = bench.Options(
        architectures=tuple(ARCHITECTURES.value),
        batches=tuple(int(batch) for batch in BATCHES.value),
        repeats=REPEATS.value,
        planes=PLANES.value,
        density=DENSITY.value,
        points=POINTS.value,
        precision=PRECISION.value,
        batch_size=BATCH_SIZE.value,
        maps=MAPS.value,
        checkpoints=CHECKPOINTS.value,
        sampling=SAMPLING.value,
        together=TOGETHER.value,
        detectors=tuple(DETECTORS.value),
        zoo=ZOO.value,
        samples=SAMPLES.value,
    )
    earlier = None
    if AGAINST.value is not None:
        earlier = bench.against.read(AGAINST.value)
        bench.against.check(AGAINST.value, CASE.value, options, earlier)
    manifest = bench.manifest(options)
    print(json.dumps(manifest))
    figures = [figure for case in CASE.value for figure in bench.CASES[case](options)]
    print(bench.table(figures))
    if OUT.value is not None:
        bench.against.write(OUT.value, manifest, figures)
    if earlier is None:
        return 0
    changes = bench.against.changes(figures, earlier.figures)
    print(bench.against.table(changes, bench.against.gone(figures, earlier.figures)))
    if not changes:
        command.say(f"--against={AGAINST.value}: no figure in common, nothing was compared")
        return command.EXIT_ERROR
    return int(any(change.worse for change in changes))


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

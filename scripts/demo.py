r"""Scans the zoo that ships with the package, and one truncated file beside it.

  xray-demo --out=demo_out

Four clean and four backdoored (BadNets) CIFAR-10 networks, 200 clean test images, the reference models of that network:
rows, a table of verdicts, pictures of the decision boundaries, and a report to open in a browser. Exits with 0 when the
truncated file is the only error.
"""

import json
import os
from importlib import resources
from pathlib import Path

from absl import flags

from xray_jax import checkpoints
from xray_jax.classifier import Classifier
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.inference.compile_cache import enable_compile_cache
from xray_jax.job import batch
from xray_jax.rows import file as row_file
from xray_jax.rows.row import ERROR
from xray_jax.scripts import command
from xray_jax.sweep.options import BatchScanOptions
from xray_jax.verdict.references import SHIPPED

OUT = flags.DEFINE_string("out", "demo_out", "Folder for rows, label maps and pictures.")
PLANES = flags.DEFINE_integer("planes", 20, "Planes per checkpoint (N).")
DENSITY = flags.DEFINE_integer("density", 100, "Grid nodes per axis (S).")
TRUNCATED = "truncated.safetensors"


def main() -> int:
    """Lays out the zoo's manifest and runs one `batch.Job` over it."""
    enable_compile_cache()
    out, shipped = Path(OUT.value), Path(str(resources.files("xray_jax") / "demo"))
    out.mkdir(parents=True, exist_ok=True)
    # Paths in the copy are absolute, because it lies elsewhere.
    lines = [json.loads(line) for line in (shipped / "manifest.jsonl").read_text().splitlines()]
    for line in lines:
        line["path"] = str((shipped / line["path"]).resolve())
    whole = checkpoints.load(lines[0]["path"])
    assert isinstance(whole, Classifier)
    checkpoints.save_safetensors(out / TRUNCATED, whole.variables, {})
    os.truncate(out / TRUNCATED, 100_000)
    lines.append({"id": TRUNCATED, "path": TRUNCATED})
    (out / "zoo.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    batch.run(
        batch.Job(
            checkpoints=str(out / "zoo.jsonl"),
            samples=str(shipped / "samples.npz"),
            out=str(out / "rows.jsonl"),
            planes=PlanesOptions(planes=PLANES.value, density=DENSITY.value, sampling="refine"),
            scan=BatchScanOptions(maps=out / "maps"),
            references=SHIPPED[0],
            plot="all",
            plots=out / "pictures",
            report=out / "report",
        )
    )
    command.say(f"rows:     {out / 'rows.jsonl'}\npictures: {out / 'pictures'}\nmaps:     {out / 'maps'}")
    command.say(f"open:     {(out / 'report' / 'index.html').resolve().as_uri()}")
    errors = {row["id"] for row in row_file.read(out / "rows.jsonl") if row["status"] == ERROR}
    return 0 if errors == {TRUNCATED} else command.EXIT_ERROR


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

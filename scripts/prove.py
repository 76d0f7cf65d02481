r"""Checks a proof: puts the stamp of a row on fresh images, asks the checkpoint again, prints the flip rate.

  xray-prove --row=rows.jsonl --id=model.pt --samples=fresh.npz --picture=proof.png

The checkpoint is the row's own unless --checkpoint names a copy. Exit codes: 0 reproduced (the lower 95 % bound of the
flip rate reaches what the row's proof needed, or --least), 1 not, 2 the checkpoint or a file cannot be read, 4 the row
holds no stamp or a flag is wrong. One JSON line on stdout.
"""

import json
import sys
from pathlib import Path
from typing import Any

from absl import flags

from xray_jax import checkpoints
from xray_jax import samples as samples_lib
from xray_jax.checkpoints import recognition
from xray_jax.detectors.probe import replay
from xray_jax.detectors.probe import result as probe_result
from xray_jax.report import plane_figures, trigger_figure
from xray_jax.rows import file as row_file
from xray_jax.scripts import command

ROW = flags.DEFINE_string("row", None, "File of rows, as xray-scan writes them.", required=True)
ID = flags.DEFINE_string("id", None, "Which row; needed when the file has several with a stamp.")
SAMPLES = flags.DEFINE_string("samples", None, "Fresh clean images, as for xray-scan.", required=True)
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The checkpoint, if it is not where the row says.")
LEAST = flags.DEFINE_float(
    "least", None, "Flip rate that counts, at the lower 95 % bound; default: what a proof needed."
)
PICTURE = flags.DEFINE_string("picture", None, "PNG to write: images, stamp, labels before and after.")


def _row() -> dict[str, Any]:
    rows = [row for row in row_file.read(ROW.value) if ID.value in (None, row["id"]) and _best(row) is not None]
    proved = [row for row in rows if row["probe"]["verdict"] == probe_result.Verdict.CONFIRMED] or rows
    if len(proved) != 1:
        raise ValueError(
            f"--row={ROW.value}: {len(proved)} rows with a stamp match --id={ID.value}; name one with --id"
        )
    return proved[0]


def _best(row: dict[str, Any]) -> Any:
    return (row.get("probe") or {}).get("best")


def main() -> int:
    """Flags to one `proof.replay`."""
    row = _row()
    finding = probe_result.from_row(_best(row))
    fresh = samples_lib.read(SAMPLES.value)
    told = {name: (row.get("settings") or {}).get(name) for name in ("architecture", "num_classes")}
    if told["architecture"] is None:
        # How layers are wired may have been chosen by the row's samples, and is part of what was proved.
        told["architecture"] = recognition.declared(row)
    model = checkpoints.load(CHECKPOINT.value or row["path"], preprocess=row.get("preprocess"), **told)
    replayed = replay.replay(finding, model, fresh)
    low, high = replayed.interval
    # The row's own: a stamp that proved nothing is not reproduced by working again.
    reproduced = low >= (row["probe"]["threshold"] if LEAST.value is None else LEAST.value)
    print(
        json.dumps(
            {
                "id": row["id"],
                "stamp": finding.description,
                "target": finding.target,
                "hits": replayed.hits,
                "trials": replayed.trials,
                "rate": replayed.hits / replayed.trials,
                "interval": [low, high],
                "reproduced": reproduced,
            }
        )
    )
    if PICTURE.value is not None:
        plane_figures.save(trigger_figure.proof_figure(finding, replayed, fresh, row["id"]), Path(PICTURE.value))
    print(f"xray-prove: {'reproduced' if reproduced else 'NOT reproduced'}", file=sys.stderr)
    return 0 if reproduced else 1


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

r"""Confirms a trigger again: puts the stamp of a row on fresh images, queries the checkpoint, prints the flip rate.

  xray-confirm --row=rows.jsonl --id=model.pt --samples=fresh.npz --picture=trigger.png

The checkpoint is the row's own unless --checkpoint names a copy. Exit codes: 0 reproduced (the lower 95 % bound of the
flip rate reaches the row's threshold, or --min_flip_rate), 1 not, 2 the checkpoint or a file cannot be read, 4 the row
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
from xray_jax.prepare import prepare
from xray_jax.report import plane_figures, trigger_figure
from xray_jax.rows import file as row_file
from xray_jax.rows.row import Row, probe_block
from xray_jax.scripts import command

ROW = flags.DEFINE_string("row", None, "File of rows, as xray-scan writes them.", required=True)
ID = flags.DEFINE_string("id", None, "Which row; needed when the file has several with a stamp.")
SAMPLES = flags.DEFINE_string("samples", None, "Fresh clean images, as for xray-scan.", required=True)
CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "The checkpoint (path, or path#part), if it is not where the row says."
)
MIN_FLIP_RATE = flags.DEFINE_float(
    "min_flip_rate", None, "Flip rate that the lower 95 % bound must reach; default: the row's threshold."
)
flags.DEFINE_alias("least", "min_flip_rate")
PICTURE = flags.DEFINE_string("picture", None, "PNG to write: images, stamp, labels before and after.")


def _row() -> Row:
    rows = [row for row in row_file.read(ROW.value) if ID.value in (None, row["id"]) and _best(row) is not None]
    confirmed = [row for row in rows if row["detectors"]["probe"]["verdict"] == probe_result.Verdict.CONFIRMED] or rows
    if len(confirmed) != 1:
        raise ValueError(
            f"--row={ROW.value}: {len(confirmed)} rows with a stamp match --id={ID.value}; name one with --id"
        )
    return confirmed[0]


def _best(row: Row) -> Any:
    block = probe_block(row)
    return None if block is None else block["best"]


def main() -> int:
    """Flags to one `replay.replay`."""
    row = _row()
    finding = probe_result.from_row(_best(row))
    fresh = samples_lib.read(SAMPLES.value)
    declared = {name: (row.get("settings") or {}).get(name) for name in ("architecture", "num_classes")}
    if declared["architecture"] is None:
        # The network variant may have been chosen by the row's samples, and is part of what was confirmed.
        declared["architecture"] = recognition.declared(row)
    # A copy may be of the whole file, or of the network alone: --checkpoint=path#part names what it is.
    part = None if CHECKPOINT.value else row.get("part")
    model = checkpoints.load(CHECKPOINT.value or row["path"], part=part, preprocess=row.get("preprocess"), **declared)
    replayed = replay.replay(finding, prepare(model, fresh), fresh)
    low, high = replayed.interval
    # The row's threshold: a stamp that was not confirmed is not reproduced by working again.
    reproduced = low >= (row["detectors"]["probe"]["threshold"] if MIN_FLIP_RATE.value is None else MIN_FLIP_RATE.value)
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
        figure = trigger_figure.replay_figure(finding, replayed, fresh, row["id"])
        plane_figures.save(figure, Path(PICTURE.value))
    print(f"xray-confirm: {'reproduced' if reproduced else 'NOT reproduced'}", file=sys.stderr)
    return 0 if reproduced else 1


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

r"""Confirms a trigger again: puts the stamp of a row on fresh images, queries the checkpoint, prints the flip rate.

  xray-confirm --row=rows.jsonl --id=model.pt --samples=fresh.npz --picture=trigger.png

The checkpoint is the row's own unless --checkpoint names a copy; where it is another file by now, that is an error, and
of a copy `same_content` says whether it is the file that was scanned. Exit codes: 0 reproduced (the lower 95 % bound of
the flip rate reaches the row's threshold, or --min_flip_rate), 1 not, 2 the checkpoint or a file cannot be read, or is
not the row's, 4 the row holds no stamp or a flag is wrong. One JSON line on stdout. A --picture that cannot be drawn is
said and changes no exit code.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from absl import flags

from xray_jax import checkpoints
from xray_jax import samples as samples_lib
from xray_jax.checkpoints import recognition
from xray_jax.detectors.probe import replay
from xray_jax.detectors.probe.result import Finding, Verdict, from_row
from xray_jax.prepare import prepare
from xray_jax.report import plane_figures, row_source, trigger_figure
from xray_jax.report.row_values import number
from xray_jax.rows.row import Row, probe_block
from xray_jax.scripts import command

ROW = flags.DEFINE_string("row", None, "File of rows, as xray-scan writes them.", required=True)
ID = flags.DEFINE_string("id", None, "Which row, its last; needed when the file has several with a stamp.")
SAMPLES = flags.DEFINE_string("samples", None, "Fresh clean images, as for xray-scan.", required=True)
CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "The checkpoint (path, or path#part), if it is not where the row says."
)
MIN_FLIP_RATE = flags.DEFINE_float(
    "min_flip_rate", None, "Flip rate that the lower 95 % bound must reach; default: the row's threshold.", 0, 1
)
flags.DEFINE_alias("least", "min_flip_rate")
_FEW = 5
PICTURE = flags.DEFINE_string("picture", None, "PNG to write: images, stamp, labels before and after.")


def _row() -> Row:
    """The row of --id, or the only one with a confirmed trigger, or the only one with a stamp; of an id the last."""
    stamped: dict[str, Row] = {}
    for row in row_source.checked(Path(ROW.value), lambda said: command.say(f"xray-confirm: {said}")):
        stamped.pop(row["id"], None)
        if _best(row) is not None:
            stamped[row["id"]] = row
    if ID.value is not None:
        if ID.value in stamped:
            return stamped[ID.value]
        raise ValueError(f"--row={ROW.value}: no stamp in the last row of --id={ID.value}; {_listed(stamped)}")
    confirmed = [name for name, row in stamped.items() if _block(row).get("verdict") == Verdict.CONFIRMED]
    chosen = confirmed or list(stamped)
    if len(chosen) != 1:
        raise ValueError(f"--row={ROW.value}: {len(chosen)} rows have a stamp, name one with --id; {_listed(chosen)}")
    return stamped[chosen[0]]


def _listed(ids: Iterable[str]) -> str:
    names = list(ids)
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return f"ids with a stamp: {', '.join(names[:_FEW]) or 'none'}{more}"


def _block(row: Row) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], probe_block(row) or {})


def _best(row: Row) -> Any:
    return _block(row).get("best")


def _required(row: Row) -> float:
    """Flip rate that the lower bound must reach: a stamp that was not confirmed is not reproduced by working again."""
    threshold = number(_block(row).get("threshold")) if MIN_FLIP_RATE.value is None else MIN_FLIP_RATE.value
    if threshold is None:
        raise ValueError(f"--row={ROW.value}: row {row['id']} has no threshold; give --min_flip_rate")
    return threshold


def _same_content(row: Row, path: str) -> bool | None:
    """Whether the checkpoint at `path` is the one that was scanned; None where the row has no hash.

    Raises:
      CheckpointError: it is another, and nobody asked for another.
    """
    if (recorded := row.get("sha256")) is None:
        return None
    if (found := checkpoints.sha256(checkpoints.split_part(path)[0])) == recorded:
        return True
    said = f"{path}: its content is not what was scanned (SHA-256 {found[:16]}..., the row's {recorded[:16]}...)"
    if CHECKPOINT.value is None:
        raise checkpoints.CheckpointError(
            f"{said}; scan it again, or give --checkpoint={path} to put the stamp on it all the same"
        )
    command.say(f"xray-confirm: {said}: this says nothing of the row's checkpoint")
    return False


def _draw(finding: Finding, replayed: replay.Replay, fresh: samples_lib.Samples, title: str, path: str) -> None:
    """Writes --picture; what was reproduced stays so where it cannot be drawn."""
    try:
        plane_figures.save(trigger_figure.replay_figure(finding, replayed, fresh, title), Path(path))
    except Exception as error:
        command.say(f"xray-confirm: --picture={path}: no picture ({type(error).__name__}: {error})")


def main() -> int:
    """Flags to one `replay.replay`."""
    row = _row()
    finding = from_row(_best(row))
    fresh = samples_lib.read(SAMPLES.value)
    declared = {name: (row.get("settings") or {}).get(name) for name in ("architecture", "num_classes")}
    if declared["architecture"] is None:
        # The network variant may have been chosen by the row's samples, and is part of what was confirmed.
        declared["architecture"] = recognition.declared(row)
    required = _required(row)
    # A copy may be of the whole file, or of the network alone: --checkpoint=path#part names what it is.
    part = None if CHECKPOINT.value else row.get("part")
    path, preprocess = CHECKPOINT.value or row["path"], row.get("preprocess")
    try:
        same_content = _same_content(row, path)
        prepared = prepare(checkpoints.load(path, part=part, preprocess=preprocess, **declared), fresh)
    except checkpoints.CheckpointError as error:
        command.say(f"xray-confirm: {error}")
        return command.EXIT_ERROR
    replayed = replay.replay(finding, prepared, fresh)
    low, high = replayed.interval
    reproduced = low >= required
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
                "same_content": same_content,
            }
        )
    )
    if PICTURE.value is not None:
        _draw(finding, replayed, fresh, row["id"], PICTURE.value)
    command.say(f"xray-confirm: {'reproduced' if reproduced else 'NOT reproduced'}")
    return 0 if reproduced else 1


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

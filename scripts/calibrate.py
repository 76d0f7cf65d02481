r"""Makes a calibration file from rows of models whose truth is known.

  xray-scan --checkpoints=clean/manifest.jsonl --samples=clean.npz --out=clean.jsonl \
            --detectors=planes,probe,panel,margin,perturbation
  xray-calibrate --rows=clean.jsonl --references=references.npz
  xray-scan --checkpoints=zoo/ --samples=clean.npz --references=references.npz --fpr=0.05 --out=rows.jsonl

--references keeps what the detectors found on the clean models, for a p-value among them; --evaluation writes how well
they tell the models of --judge (and each other), where the truth is known. --out makes thresholds of RE and ATS:

  xray-scan --checkpoints=clean/manifest.jsonl --samples=clean.npz --out=reference.jsonl --probe_search=full
  xray-calibrate --rows=reference.jsonl --false_positive_rate=0.05 --out=calibration.json
  xray-scan --checkpoints=zoo/ --samples=clean.npz --calibration=calibration.json --out=rows.jsonl

Without --false_positive_rate the thresholds are the mean over attacks ("attack" of the manifest) of those with the best
F1 (paper Eq. 6), which needs backdoored models too.
Rows that carry results of the probe's full search also say what the probe finds on clean models, and how often it would
confirm a trigger on each of those against the others. --null writes that part alone, from rows of --detectors=probe as
well; the package's default is made so:

  xray-calibrate --rows=docs/evidence/clean-models/rows.jsonl --least_accuracy=0.6 \
                 --null=xray_jax/detectors/probe/default_null.json

One JSON line on stdout. Exit codes: 0 written, 2 error, 4 usage.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from absl import flags

from xray_jax.rows import file as row_file
from xray_jax.scripts import command, command_help, unused_flags
from xray_jax.verdict.calibrate import (
    FEWEST_CLEAN,
    calibrate,
    is_probed_clean,
    leave_one_out,
    probe_null_of,
    searched_in_full,
)
from xray_jax.verdict.calibration import CalibrationError
from xray_jax.verdict.evaluation import judge_all, table
from xray_jax.verdict.references import from_rows

with command_help.group("Reference models"):
    ROWS = flags.DEFINE_string("rows", None, "Row file of reference models, with ground truth.", required=True)
    JUDGE = flags.DEFINE_list("judge", [], "Row files of other models with ground truth, for --evaluation.")
    RATE = flags.DEFINE_float(
        "false_positive_rate", None, "Probability at most that a clean model is flagged, by each statistic."
    )
    LEAST = flags.DEFINE_float(
        "least_accuracy", 0, "Clean models under it are too poor to say what the probe may find.", 0, 1
    )
with command_help.group("Output"):
    EVALUATION = flags.DEFINE_string("evaluation", None, "Markdown file to write: AUROC and flagged share by attack.")
    REFERENCES = flags.DEFINE_string("references", None, "File of reference models to write, for xray-scan.")
    OUT = flags.DEFINE_string("out", None, "Calibration file to write.")
    NULL = flags.DEFINE_string("null", None, "File to write with the probe's null alone, as in the package's default.")


def main() -> int:
    """Flags to one `calibrate.calibrate` or `calibrate.probe_null_of`."""
    if OUT.value is None and NULL.value is None and REFERENCES.value is None:
        raise ValueError("nothing to write: give --references, --out, or --null")
    if REFERENCES.value is None:
        unused_flags.refuse([EVALUATION], "is of references: give --references as well")
    if EVALUATION.value is None:
        unused_flags.refuse([JUDGE], "is for --evaluation: give the file to write")
    rows, source = list(row_file.read(ROWS.value)), Path(ROWS.value).name
    said: dict[str, Any] = {}
    if OUT.value is not None:
        made = calibrate(rows, source, RATE.value, LEAST.value)
        _write(OUT.value, dataclasses.asdict(made))
        said |= {"re_threshold": made.re_threshold, "ats_threshold": made.ats_threshold, "source": made.source}
    if NULL.value is not None:
        null = probe_null_of(rows, source, LEAST.value)
        if null.models < FEWEST_CLEAN:
            raise CalibrationError(
                f"{source}: {null.models} clean models were probed with --probe_search=full, a null needs "
                f"{FEWEST_CLEAN}"
            )
        _write(NULL.value, null.row())
        said |= {"null_models": null.models}
    if REFERENCES.value is not None:
        references = from_rows(rows, source)
        # Made before anything is written: rows that cannot be compared are an error.
        judged = (
            judge_all([*rows, *(row for path in JUDGE.value for row in row_file.read(path))], references)
            if EVALUATION.value is not None
            else []
        )
        references.save(REFERENCES.value)
        said |= {"references": len(references.ids), "statistics": sorted(references.statistics)}
        if EVALUATION.value is not None:
            Path(EVALUATION.value).write_text(table(judged, RATE.value or 0.05))
    races = sum(is_probed_clean(row) and not searched_in_full(row) for row in rows)
    if races and (OUT.value is not None or NULL.value is not None):
        command.say(
            f"xray-calibrate: {races} rows of clean models are of a race, which does not say all that the probe may "
            "find on them; for what is normal to the probe, scan with --probe_search=full"
        )
    alarms = leave_one_out(rows, LEAST.value)
    said["probe_leave_one_out"] = {
        "alarms": len(alarms.confirmed),
        "clean_models": alarms.models,
        "interval": [round(end, 4) for end in alarms.interval],
        "confirmed": list(alarms.confirmed),
    }
    print(json.dumps(said))
    return 0


def _write(path: str, content: Any) -> None:
    Path(path).write_text(json.dumps(content, indent=1) + "\n")


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

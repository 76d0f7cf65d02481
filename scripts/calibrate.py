r"""Makes a calibration file from rows of models whose truth is known.

  xray-scan --checkpoints=reference/manifest.jsonl --samples=clean.npz --out=reference.jsonl
  xray-calibrate --rows=reference.jsonl --false_positive_rate=0.05 --out=calibration.json
  xray-scan --checkpoints=zoo/ --samples=clean.npz --calibration=calibration.json --out=rows.jsonl

Without --false_positive_rate the thresholds are those of the best F1 (paper Eq. 6), which needs backdoored models too.
Rows that carry probe results also say what the probe finds on clean models. Exit codes: 0 written, 2 error, 4 usage.
"""

import dataclasses
import json
from pathlib import Path

from absl import flags

from xray_jax import results
from xray_jax.calibrate import calibrate, leave_one_out
from xray_jax.scripts import command

ROWS = flags.DEFINE_string("rows", None, "Row file of reference models, with ground truth.", required=True)
OUT = flags.DEFINE_string("out", None, "Calibration file to write.", required=True)
RATE = flags.DEFINE_float("false_positive_rate", None, "Share of clean models that may be flagged, by each statistic.")


def main() -> int:
    """Flags to one `calibrate.calibrate`."""
    rows = list(results.read(ROWS.value))
    made = calibrate(rows, Path(ROWS.value).name, RATE.value)
    alarms, models = leave_one_out(rows)
    Path(OUT.value).write_text(json.dumps(dataclasses.asdict(made), indent=1) + "\n")
    said = {"re_threshold": made.re_threshold, "ats_threshold": made.ats_threshold, "source": made.source}
    print(json.dumps({**said, "probe_leave_one_out": {"alarms": alarms, "clean_models": models}}))
    return 0


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()

"""A flag that would do nothing is an error: whoever gives it counts on it."""

import shlex
from pathlib import Path

import pytest

from tests.commands import finished

SCAN = "xray-scan --checkpoints=zoo --samples=cifar10"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{SCAN} --fpr=0.01", "--fpr is of the comparison with references: give --references too"),
        (f"{SCAN} --decide=both", "--decide is of the thresholds of the planes: give --calibration too"),
        (f"{SCAN} --ray_address=auto", "--ray_address is of a Ray cluster: give --backend=ray too"),
        (f"{SCAN} --ray_cpus=2", "--ray_cpus is of a Ray cluster: give --backend=ray too"),
        (f"{SCAN} --workers=2", "--workers is of worker processes: give --isolate too"),
        (f"{SCAN} --neural_cleanse=paper", "--neural_cleanse is of the detector neural_cleanse: add it to --detectors"),
        (f"{SCAN} --detectors=", "--detectors names none"),
        (f"{SCAN} --plots=pictures", "--plots needs --plot"),
        ("xray-calibrate --rows=a.jsonl --out=b.json --evaluation=c.md", "--evaluation is of references"),
        ("xray-calibrate --rows=a.jsonl --references=b.npz --judge=c.jsonl", "--judge is for --evaluation"),
        ("xray-reproduce --rows=a.jsonl --out=b.md --table=99", "--table is of --evidence"),
        ("xray-reproduce --rows=a.jsonl --out=b.md --zoo=zoo", "--zoo is of --evidence"),
        ("xray-reproduce --evidence=a --out=b.md --fpr=0.1", "--fpr is of --rows"),
        ("xray-train --data=. --out=zoo --attacks=badnets --control=stamps", "--control is of clean models: add clean"),
        ("xray-train --data=. --out=zoo --attacks=clean --adaptive=planes", "--adaptive is of attacks: add one"),
        ("xray-train --data=. --out=zoo --rate=0.2", "--rate is of attacks: add one to --attacks"),
        ("xray-train --data=. --out=zoo --attacks=clean,badnets --start_from=zoo", "--start_from is of --adaptive and"),
        ("xray-train --data=. --out=zoo --attacks=badnets --start_from=zoo", "--start_from is of --adaptive and"),
        ("xray-publish --zoo=zoo --data=. --check --records=r", "--records is of --models, and would do nothing"),
        ("xray-publish --zoo=zoo --data=. --check --dataset=gtsrb", "--dataset is of --models, and would do nothing"),
        ("xray-bench --case=fidelity --precision=bfloat16", "--precision would do nothing: it is of --case=forward or"),
        ("xray-bench --case=fidelity --architectures=nosuch", "--architectures would do nothing"),
        ("xray-bench --case=reading --case=devices --planes=3", "--planes would do nothing"),
        ("xray-bench --case=quick --zoo=nowhere", "--zoo would do nothing: it is of --case=probe"),
        ("xray-bench --case=zoo --repeats=1", "--repeats would do nothing"),
    ],
)
def test_a_flag_without_effect_is_an_error(tmp_path: Path, line: str, message: str) -> None:
    done = finished(*shlex.split(line), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())

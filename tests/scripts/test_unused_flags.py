"""A flag that would do nothing is an error: whoever gives it counts on it."""

from pathlib import Path

import pytest

from tests.commands import finished


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--fpr=0.01", "--fpr is of the comparison with references: give --references too"),
        ("--decide=both", "--decide is of the thresholds of the planes: give --calibration too"),
        ("--ray_address=auto", "--ray_address is of a Ray cluster: give --backend=ray too"),
        ("--ray_cpus=2", "--ray_cpus is of a Ray cluster: give --backend=ray too"),
        ("--workers=2", "--workers is of worker processes: give --isolate too"),
        ("--neural_cleanse=paper", "--neural_cleanse is of the detector neural_cleanse: add it to --detectors"),
        ("--detectors=", "--detectors names none"),
        ("--plots=pictures", "--plots needs --plot"),
    ],
)
def test_a_flag_without_effect_is_an_error(tmp_path: Path, given: str, message: str) -> None:
    done = finished("xray-scan", "--checkpoints=zoo", "--samples=cifar10", given, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())

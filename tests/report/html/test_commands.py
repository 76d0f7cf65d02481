"""Commands that repeat a scan: a shell reads them as they were meant, and they say what was not the default."""

import dataclasses
import os
import shutil
import subprocess
from typing import Any

import pytest

from tests.report import hostile, rows
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.report.html import commands
from xray_jax.verdict import references
from xray_jax.verdict.calibration import PAPER_CALIBRATIONS, CalibrationError

BASH = shutil.which("bash")


def words(line: str) -> list[str]:
    """What bash makes of a command line."""
    assert BASH is not None
    program = "set -f; printf '%s\\0' " + line
    done = subprocess.run([BASH, "-c", program], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize("number", range(len(hostile.TEXTS)))
def test_a_shell_reads_every_text_as_it_was(number: int) -> None:
    text = hostile.TEXTS[number]
    # No argument of a program holds the one, and no file name the other.
    text = text.replace("\0", "").replace("\ud800", "").replace("\uffff", "").replace("\ufffe", "")
    shown = commands.shell_word(text)
    assert words(f"x --id={shown}") == ["x", f"--id={text}"]
    assert shown.isprintable()


def settings(**fields: Any) -> dict[str, Any]:
    planes = dataclasses.asdict(PlanesOptions(sampling="refine"))
    probe = {**dataclasses.asdict(ProbeOptions()), "null": {"source": "default", "models": 70}}
    return {
        "precision": "float32", "samples": "0" * 16, "seed": 0, "decide": "either", "calibration": None,
        "detectors": {"planes": planes, "probe": probe}, "architecture": None, "num_classes": None, "preprocess": None,
    } | fields  # fmt: skip


def scan(made: dict[str, Any]) -> commands.Command:
    return commands.of(rows.row(settings=made, path="a model.pth"))[0]


def test_defaults_are_left_out() -> None:
    assert scan(settings()).line == "xray-scan --checkpoints='a model.pth' --samples=SAMPLES.npz --out=again.jsonl"
    assert "their hash is 0000000000000000" in scan(settings()).note


def test_samples_are_named_as_the_row_names_them() -> None:
    made = commands.of(rows.row(settings=settings(), path="a model.pth", samples="/data/my samples.npz"))[0]
    assert "--samples='/data/my samples.npz' " in made.line
    assert made.note == ""


def test_the_samples_that_ship_with_the_package_are_named() -> None:
    made = scan(settings(samples="8f6c371ce5f37da0"))
    assert "--samples=cifar10 " in made.line
    assert made.note == ""


def test_what_was_not_the_default_is_said() -> None:
    made = settings(
        precision="bfloat16", seed=3, decide="both", calibration=dataclasses.asdict(PAPER_CALIBRATIONS["gtsrb"]),
        architecture="vgg16", num_classes=43, preprocess={"mean": [0.5], "std": [0.25]},
    )  # fmt: skip
    made["detectors"]["planes"] |= {"planes": 9, "density": 50, "sampling": "sketch", "seed": 3}
    made["detectors"]["probe"] |= {"queries": 9000, "null": {"source": "own clean models", "models": 9}, "seed": 3}
    made["detectors"] = {"probe": made["detectors"]["probe"], "planes": made["detectors"]["planes"]}
    line = scan(made).line
    for flag in (
        "--detectors=probe,planes", "--calibration=paper:gtsrb", "--decide=both", "--seed=3", "--precision=bfloat16",
        "--architecture=vgg16", "--num_classes=43", """--preprocess='{"mean": [0.5], "std": [0.25]}'""", "--density=50",
        "--planes=9", "--sampling=sketch", "--probe_queries=9000", "--probe_null=NULL.json",
    ):  # fmt: skip
        assert f" {flag} " in f"{line} "
    assert "own clean models" in scan(made).note


@pytest.mark.parametrize(
    ("way", "options"),
    [("--planes=auto", {"max_queries": 200_000}), ("--sampling=cascade", {"sampling": "cascade", "max_queries": None})],
)
def test_ways_of_earlier_versions_are_said_to_be_gone(way: str, options: dict[str, Any]) -> None:
    made = settings(samples="8f6c371ce5f37da0")
    made["detectors"]["planes"] |= options
    command = scan(made)
    assert command.line == "xray-scan --checkpoints='a model.pth' --samples=cifar10 --out=again.jsonl"
    assert command.note == f"The scan ran with {way}, which is gone: the numbers may differ."


def test_an_own_calibration_is_stood_for() -> None:
    kept = {"source": "our models", "search": {"queries": 50000, "search_images": 48}}
    own = {"source": "our models", "re_threshold": 1.0, "ats_threshold": 0.2, "probe_null": kept}
    made = settings(calibration=own)
    made["detectors"]["probe"]["null"] = {"source": "our models"}
    assert "--calibration=CALIBRATION.json" in scan(made).line
    assert "probe_null" not in scan(made).line


def test_a_stamp_is_confirmed_with_the_file_of_its_row() -> None:
    made = commands.of(rows.confirmed("3x3 solid white patch", id="it's.pth"))
    assert len(made) == 2
    expected = """xray-confirm --row=rows.jsonl --id='it'"'"'s.pth' --samples=FRESH.npz --picture=trigger.png"""
    assert made[1].line == expected
    assert len(commands.of(rows.error())) == 1


def test_shipped_references_are_named() -> None:
    (name,) = references.SHIPPED
    shipped = references.load(name)
    made = settings(samples="8f6c371ce5f37da0", references={"digest": shipped.digest, "fpr": 0.05})
    assert f" --references={name} " in scan(made).line
    assert scan(made).note == ""
    # What messages and rows say of them is what they are asked for by.
    assert shipped.source == name
    with pytest.raises(CalibrationError, match=f"^references {name}: scanned with other samples"):
        shipped.check("0" * 16, {}, 0.05)
    made["references"]["digest"] = "0" * 16
    assert " --references=REFERENCES.npz " in scan(made).line


def test_a_model_in_memory_has_to_be_saved_first() -> None:
    command, *_ = commands.of(rows.row(path="", sha256=None, format="memory"))
    assert "--checkpoints=CHECKPOINT " in command.line
    assert "CHECKPOINT stands for the model, which was scanned in memory: save it first." in command.note

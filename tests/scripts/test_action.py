"""The action and the hook for other repositories, their steps run as they are written."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import factory
from tests.places import ROOT

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="needs bash")
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = ACTION["runs"]["steps"]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A repository with two models, and programs of the names that an installed package has; pip only takes notes."""
    (tmp_path / "models").mkdir()
    factory.save_tiny(tmp_path / "models" / "a b.safetensors", 0)
    (tmp_path / "models" / "cut.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    factory.save_samples(tmp_path / "samples.npz")
    (tmp_path / "bin").mkdir()
    programs = {"python": 'echo "$@" >> "$NOTES"'}
    programs |= {
        f"xray-{name}": f'exec {sys.executable} -m xray_jax.scripts.{name} "$@"' for name in ("scan", "report")
    }
    for name, program in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


class Run:
    """A run of the action's shell steps.

    Attributes:
      codes: exit code of each step that ran, by name. outputs: of the steps, by "id.name".
    """

    def __init__(self, work: Path, **inputs: str) -> None:
        self.work = work
        self.inputs = {name: str(each.get("default", "")) for name, each in ACTION["inputs"].items()} | inputs
        self.codes: dict[str, int] = {}
        self.outputs: dict[str, str] = {}
        self.used: list[str] = []
        for step in STEPS:
            if "run" not in step:
                self.used.append(step["uses"])
                continue
            self.codes[step["name"]] = self._step(step)
            if self.codes[step["name"]]:
                break

    def _value(self, text: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            kind, _, rest = match[1].partition(".")
            known = {"inputs": self.inputs, "github": {"action_path": str(ROOT)}}
            return self.outputs[rest.replace(".outputs", "")] if kind == "steps" else known[kind][rest]

        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", replaced, text)

    def _step(self, step: dict[str, Any]) -> int:
        assert "${{" not in step["run"], "an input that becomes part of a program is a program"
        assert step["shell"] == "bash"
        environment = {
            **os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT), "PATH": f"{self.work / 'bin'}:{os.environ['PATH']}",
            "GITHUB_OUTPUT": str(self.work / "output"), "GITHUB_STEP_SUMMARY": str(self.work / "summary.md"),
            "NOTES": str(self.work / "pip.txt"),
            **{name: self._value(text) for name, text in step.get("env", {}).items()},
        }  # fmt: skip
        assert BASH is not None
        command = [BASH, "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(command, cwd=self.work, env=environment, capture_output=True, text=True, check=False)
        self.said = done.stderr
        if (self.work / "output").exists():
            for line in (self.work / "output").read_text().splitlines():
                name, _, value = line.partition("=")
                self.outputs[f"{step.get('id')}.{name}"] = value
            (self.work / "output").unlink()
        return done.returncode


FLAGS = "--planes=1\n--density=8\n\n--detectors=planes\n"


def test_a_model_that_cannot_be_scanned_fails_the_job_after_everything_was_reported(work: Path) -> None:
    run = Run(work, checkpoints="models", samples="samples.npz", flags=FLAGS, out="out put")
    assert run.codes == {"Install": 0, "Scan": 0, "Findings and job summary": 0, "Exit code": 2}
    assert run.outputs["scan.exit-code"] == "2"
    assert (work / "pip.txt").read_text() == f"-m pip install --quiet {ROOT}[onnx,report]\n"
    findings = json.loads((work / "out put" / "findings.sarif").read_text())["runs"][0]["results"]
    uris = [finding["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for finding in findings]
    assert uris == ["models/a%20b.safetensors", "models/cut.safetensors"]
    assert "1 could not be scanned" in (work / "summary.md").read_text()
    assert (work / "out put" / "report" / "index.html").is_file()
    assert run.used == ["actions/setup-python@v5", "github/codeql-action/upload-sarif@v3"]


def test_inputs_are_no_part_of_the_shell_and_usage_errors_stop_the_job(work: Path) -> None:
    run = Run(work, checkpoints='"; touch hacked; "$(touch hacked)', samples="`touch hacked`", flags="--planes=1; id")
    assert run.codes == {"Install": 0, "Scan": 4}
    assert not (work / "hacked").exists()


@pytest.mark.parametrize(("fail_on", "code"), [("unclean", "2"), ("flagged", "0")])
def test_a_model_without_a_verdict_fails_the_job_unless_only_findings_shall(
    work: Path, fail_on: str, code: str
) -> None:
    (work / "models" / "cut.safetensors").unlink()
    run = Run(work, **{"checkpoints": "models", "samples": "samples.npz", "flags": FLAGS, "fail-on": fail_on})
    assert run.outputs["scan.exit-code"] == code
    assert run.codes["Exit code"] == int(code)


@pytest.mark.parametrize(
    ("fail_on", "code", "expected"),
    [
        ("unclean", "0", 0), ("unclean", "1", 1), ("unclean", "2", 2), ("flagged", "0", 0), ("flagged", "1", 1),
        ("flagged", "2", 2), ("flagged", "3", 3), ("errors", "1", 0),
        ("errors", "2", 2), ("never", "1", 0), ("never", "2", 0), ("sometimes", "1", 4),
    ],
)  # fmt: skip
def test_what_fails_the_job(fail_on: str, code: str, expected: int) -> None:
    (step,) = [step for step in STEPS if step["name"] == "Exit code"]
    assert BASH is not None
    command = [BASH, "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    environment = {"CODE": code, "FAIL_ON": fail_on}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == expected


def test_the_hook_runs_as_it_is_written(work: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert {"id", "name", "entry", "language"} <= set(hook)
    assert re.search(hook["files"], "models/a b.safetensors")
    assert not re.search(hook["files"], "models/README.md")
    (work / "models" / "cut.safetensors").unlink()
    environment = {
        **os.environ,
        "XLA_FLAGS": "",
        "PATH": f"{work / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    # As they are, and with a set of its own that fits the model, as a repository would give it.
    arguments = [argument.replace("cifar10", "samples.npz") for argument in hook["args"]]
    command = [hook["entry"], *arguments, "--planes=1", "--density=8"]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 scanned, 0 flagged" in done.stderr

"""Launch files parse, agree with themselves, and give only flags that xray-scan has."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.places import ROOT
from tests.test_docs import flags_of

FOLDER = ROOT / "scripts" / "launch"
FILES = sorted(FOLDER.iterdir())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_flags_exist(file: Path) -> None:
    text = "\n".join(line for line in file.read_text().splitlines() if not line.startswith(("#SBATCH", "#   sbatch")))
    calls = re.findall(r"xray-(?:scan|merge)((?:[^\n;]|\n(?=\s*-)|\\\n)*)", text)
    used = {flag for call in calls for flag in re.findall(r"--(\w+)=", call)}
    assert used
    assert used <= flags_of("xray-scan") | flags_of("xray-merge")


def test_kubernetes_job_agrees_with_itself() -> None:
    job = yaml.safe_load((FOLDER / "kubernetes_job.yaml").read_text())["spec"]
    command = job["template"]["spec"]["containers"][0]["args"][0]
    assert job["completionMode"] == "Indexed"
    assert re.search(r"--num_shards=(\d+)", command)[1] == str(job["completions"]) == str(job["parallelism"])


def test_ray_job_is_one() -> None:
    job = yaml.safe_load((FOLDER / "ray_job.yaml").read_text())
    assert job["kind"] == "RayJob"
    assert "--backend=ray" in job["spec"]["entrypoint"]


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 0), (2, 2)])
def test_slurm_script_runs_the_scan_and_passes_failures_on(tmp_path: Path, code: int, expected: int) -> None:
    fake = tmp_path / "xray-scan"
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/args\nexit {code}\n')
    fake.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "CHECKPOINTS": "a b.jsonl", "SAMPLES": "s.npz", "OUT": "rows.jsonl",
        "NUM_SHARDS": "64",
    }  # fmt: skip
    assert subprocess.run(["bash", FOLDER / "slurm_array.sh"], env=environment, check=False).returncode == expected
    assert (tmp_path / "args").read_text().splitlines() == [
        "--checkpoints=a b.jsonl", "--samples=s.npz", "--out=rows.jsonl", "--sampling=refine", "--num_shards=64",
    ]  # fmt: skip

"""Launch files parse, agree with themselves, and give only flags that xray-scan has."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
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


def whole(required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with these fields and no others."""
    fields = {"properties": {**required, **optional}, "required": list(required), "additionalProperties": False}
    return {"type": "object", **fields}


TEXT, WHOLE, SWITCH = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
POD = {"type": "object", "properties": {"spec": {"type": "object", "required": ["containers"]}}, "required": ["spec"]}
NODE = {"rayStartParams": TEXTS, "template": POD}
GROUP = whole(
    {**NODE, "groupName": TEXT, "minReplicas": WHOLE, "maxReplicas": WHOLE}, {"replicas": WHOLE, "numOfHosts": WHOLE}
)
CLUSTER = whole(
    {"headGroupSpec": whole(NODE, {"serviceType": TEXT, "enableIngress": SWITCH})},
    {"workerGroupSpecs": {"type": "array", "items": GROUP}, "rayVersion": TEXT, "enableInTreeAutoscaling": SWITCH},
)
RAY_JOB = whole(
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": whole(
            {"entrypoint": TEXT, "rayClusterSpec": CLUSTER},
            {
                "activeDeadlineSeconds": WHOLE,
                "backoffLimit": WHOLE,
                "shutdownAfterJobFinishes": SWITCH,
                "submissionMode": {"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
                "ttlSecondsAfterFinished": WHOLE,
            },
        ),
    },
    {},
)
"""What KubeRay's RayJob asks for (ray.io/v1), of the fields that a batch scan can use: in its own file each field that
is not among them would be a spelling mistake, which Kubernetes drops in silence."""


def test_ray_job_is_one() -> None:
    job = yaml.safe_load((FOLDER / "ray_job.yaml").read_text())
    jsonschema.validate(job, RAY_JOB)
    assert "--backend=ray" in job["spec"]["entrypoint"]
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("shutdownAfterJobFinish",), True),
        (("rayClusterSpec", "headGroupSpec", "rayStartParams", "num-gpus"), 0),
        (("rayClusterSpec", "workerGroupSpecs", 0, "minReplica"), 1),
        (("rayClusterSpec", "workerGroupSpecs", 0, "template"), {}),
    ],
)
def test_a_ray_job_with_a_mistake_is_none(path: Sequence[Any], value: Any) -> None:
    job = yaml.safe_load((FOLDER / "ray_job.yaml").read_text())
    place = job["spec"]
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, RAY_JOB)


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 0), (2, 2)])
def test_slurm_script_runs_the_scan_and_passes_failures_on(tmp_path: Path, code: int, expected: int) -> None:
    fake = tmp_path / "xray-scan"
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/args\nexit {code}\n')
    fake.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "CHECKPOINTS": "a b.jsonl", "SAMPLES": "s.npz", "OUT": "rows.jsonl",
        "NUM_SHARDS": "64", "REFERENCES": "r.npz", "FPR": "0.01",
    }  # fmt: skip
    assert subprocess.run(["bash", FOLDER / "slurm_array.sh"], env=environment, check=False).returncode == expected
    assert (tmp_path / "args").read_text().splitlines() == [
        "--checkpoints=a b.jsonl", "--samples=s.npz", "--out=rows.jsonl", "--sampling=refine", "--isolate",
        "--timeout=3600", "--num_shards=64", "--references=r.npz", "--fpr=0.01",
    ]  # fmt: skip

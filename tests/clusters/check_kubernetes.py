"""The files of scripts/launch against the published schema of Kubernetes. Run by hand, see docs/soak.md.

pip install kubernetes-validate
python -m tests.clusters.check_kubernetes

Kubernetes' own kinds are checked whole; of a RayJob, whose schema is KubeRay's, the pods that it asks for.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import yaml

from tests.places import ROOT

COMMAND = ["kubernetes-validate", "--kubernetes-version=1.37.0", "--strict"]


def pods(value: Any) -> Iterator[Any]:
    """The pod templates inside a resource."""
    for name, inside in value.items() if isinstance(value, dict) else enumerate(value):
        if name == "template":
            yield inside
        elif isinstance(inside, dict | list):
            yield from pods(inside)


def main() -> int:
    """Prints what was checked; 1 where something is wrong."""
    wrong = 0
    for file in sorted((ROOT / "scripts" / "launch").glob("*.yaml")):
        resource = yaml.safe_load(file.read_text())
        documents = [resource]
        if resource["apiVersion"].startswith("ray.io/"):
            named = enumerate(pods(resource["spec"]))
            documents = [
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{number}"}, **template}
                for number, template in named
            ]
        for document in documents:
            print(f"{file.name}: {document['kind']}", flush=True)
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as copy:
                yaml.safe_dump(document, copy)
                copy.flush()
                wrong += subprocess.run([*COMMAND, copy.name], check=False).returncode != 0
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

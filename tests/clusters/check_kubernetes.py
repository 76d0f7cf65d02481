"""The files of scripts/launch against the published schema of Kubernetes. Run by hand, see docs/soak.md.

pip install kubernetes-validate pyyaml
python tests/clusters/check_kubernetes.py

Kubernetes' own kinds are checked whole; of a RayJob, whose schema is KubeRay's, the pods that it asks for.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

LAUNCH = Path(__file__).parents[2] / "scripts" / "launch"


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
    for file in sorted(LAUNCH.glob("*.yaml")):
        resource = yaml.safe_load(file.read_text())
        documents = [resource]
        if resource["apiVersion"].startswith("ray.io/"):
            named = enumerate(pods(resource["spec"]))
            documents = [
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{number}"}, **template}
                for number, template in named
            ]
        for document in documents:
            try:
                version = kubernetes_validate.validate(document, "1.37", strict=True)
                print(f"{file.name}: {document['kind']} is valid for Kubernetes {version}")
            except kubernetes_validate.ValidationError as error:
                print(f"{file.name}: {document['kind']}: {error.message} at {list(error.path)}")
                wrong += 1
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

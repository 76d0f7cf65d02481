"""The oldest versions that pyproject.toml claims, as constraints for pip; `make test-oldest` tests with them.

python -m tests.oldest_versions > oldest.txt
"""

import re
import tomllib

from tests.places import ROOT


def constraints() -> list[str]:
    """`name==version` for each lower bound of the dependencies and extras, and for exact versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    found = [re.fullmatch(r"([\w-]+)(?:\[\w+\])?[>=]=([\d.]+)", line) for line in lines]
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    print(*constraints(), sep="\n")

"""BUILD covers every module, command and requirement; read as Python, of which Starlark of this kind is a subset.

`glob` is as Bazel's: `**` stands for any number of folders, and git's list of files for the workspace, where a link is
a file, as it is in a checkout without links.
"""

import re
import tomllib
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.places import ROOT
from tests.source_imports import HAVE_GIT, files, imports, modules
from tests.test_dependencies import DECLARED, EXTRAS, PROJECT, distribution, distributions

pytestmark = pytest.mark.skipif(not HAVE_GIT, reason="needs git's list of files")

Target = dict[str, Any]


def matcher(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*)", pattern)
    meaning = {"**/": "(?:.+/)?", "**": ".+", "*": "[^/]*"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))


def glob(include: Sequence[str], exclude: Sequence[str] = ()) -> list[str]:
    found = [name for name in files() if any(matcher(pattern).fullmatch(name) for pattern in include)]
    assert found, f"BUILD: {include} matches nothing"
    return [name for name in found if not any(matcher(pattern).fullmatch(name) for pattern in exclude)]


@pytest.fixture(scope="module")
def targets() -> dict[str, Target]:
    """Name -> the attributes of each rule of BUILD, and its kind."""
    found: dict[str, Target] = {}

    def rule(kind: str) -> Callable[..., None]:
        def add(**attributes: Any) -> None:
            assert attributes["name"] not in found, f"BUILD: two targets named {attributes['name']}"
            found[attributes["name"]] = {"kind": kind, **attributes}

        return add

    names = {kind: rule(kind) for kind in ("genrule", "py_binary", "py_library", "py_test")}
    ignored = {"load": lambda *_: None, "package": lambda **_: None}
    helpers = {"glob": glob, "requirement": lambda name: f"@pypi//:{name}"}
    exec(compile((ROOT / "BUILD").read_text(), "BUILD", "exec"), {**names, **ignored, **helpers})
    return found


def of_kind(targets: dict[str, Target], kind: str) -> list[Target]:
    return [target for target in targets.values() if target["kind"] == kind]


def test_every_module_has_a_place(targets: dict[str, Target]) -> None:
    sources = {source for target in targets.values() for source in target["srcs"]}
    assert not set(modules("xray_jax", "models", "scripts", "tests")) - sources


def test_the_library_is_the_package(targets: dict[str, Target]) -> None:
    """The same files as in the wheel: those of the top-level folders as copies below xray_jax/."""
    moved = modules("models", "scripts")
    assert sorted(targets["xray_jax"]["srcs"]) == sorted(
        [*modules("xray_jax"), *(f"xray_jax/{file}" for file in moved)]
    )
    beside = {name for name in files() if name.startswith("xray_jax/") and not name.endswith(".py")}
    links = {"xray_jax/models", "xray_jax/scripts"}
    assert set(targets["xray_jax"]["data"]) == beside - links | {"xray_jax.dist-info/METADATA"}
    copies = {out: target["srcs"] for target in of_kind(targets, "genrule") for out in target["outs"]}
    assert all(copies.get(f"xray_jax/{file}") == [file] for file in moved)


def test_every_command_has_a_binary(targets: dict[str, Target]) -> None:
    mains = {target["name"]: target["main"] for target in of_kind(targets, "py_binary")}
    assert mains == {
        command: entry.removesuffix(":run").replace(".", "/") + ".py" for command, entry in PROJECT["scripts"].items()
    }
    assert all(target["srcs"] == [target["main"]] for target in of_kind(targets, "py_binary"))


def test_every_test_file_has_a_test(targets: dict[str, Target]) -> None:
    tests = {file for file in modules("tests") if file.split("/")[-1].startswith("test_")}
    found = {target["args"][0] for target in of_kind(targets, "py_test")}
    assert found == {f"$(rootpath {file})" for file in tests}


def test_requirements_are_what_is_imported(targets: dict[str, Target]) -> None:
    extras = {distribution(line) for name in ("hub", "onnx", "ray", "report", "lab") for line in EXTRAS[name]}
    assert requirements(targets["xray_jax"]) == DECLARED | extras
    used = distributions([found for file in modules("tests", "xray_jax") for found in imports(file)])
    apart = {distribution(line) for line in EXTRAS["fuzz"] + EXTRAS["oracles"]} - {"torch"}
    assert requirements(targets["test_library"]) == used - DECLARED - extras - apart


def requirements(target: Target) -> set[str]:
    labels = [label for label in target["deps"] if label.startswith("@pypi//:")]
    assert len(set(labels)) == len(labels)
    return {label.removeprefix("@pypi//:") for label in labels}


def test_build_is_read_by_people() -> None:
    assert (ROOT / "BUILD").read_text().count("\n") < 200


def test_the_lock_file_holds_every_requirement_and_names_no_index(targets: dict[str, Target]) -> None:
    assert 'requirements_lock = "//:requirements_lock.txt"' in (ROOT / "MODULE.bazel").read_text()
    text = (ROOT / "requirements_lock.txt").read_text()
    assert not re.search(r"://|^-|^ *--", text, re.MULTILINE)
    locked = dict(line.split("==") for line in text.splitlines() if not line.lstrip().startswith("#"))
    needed = {name for target in targets.values() if "deps" in target for name in requirements(target)}
    assert needed <= locked.keys()
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    floors = dict(line.split(">=") for line in lines if ">=" in line)
    old = [name for name, floor in floors.items() if name in locked and numbers(locked[name]) < numbers(floor)]
    assert not old, f"older in requirements_lock.txt than pyproject claims: {old}"


def numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def test_the_module_has_the_version_of_the_package() -> None:
    found = re.search(r'version = "([^"]+)"', (ROOT / "MODULE.bazel").read_text())
    assert found
    assert found[1] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

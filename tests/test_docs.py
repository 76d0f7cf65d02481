"""What README and docs say of flags, files, folders and functions is so."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache

import pytest

from tests import documents
from tests.places import ROOT
from tests.source_imports import HAVE_GIT, files, imports
from tests.test_imports import ORDER

pytestmark = pytest.mark.skipif(not HAVE_GIT, reason="needs git's list of files")

SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
COMMANDS = {
    name: entry.split(":")[0].replace("xray_jax.", "").replace(".", "/") + ".py" for name, entry in SCRIPTS.items()
}
OF_ABSL = {"help", "helpfull", "verbosity", "flagfile"}
CURRENT = [page for page in documents.PAGES if page != "CHANGELOG.md"]
"""The changelog names flags that are gone."""
OF_FILES = ("docs/reproduction.md", "docs/evidence/", "zoo/")
"""Name files of folders that only whoever follows them has."""
ARCHITECTURE = "docs/architecture.md"


def defined(script: str) -> Iterator[str]:
    """Names of the flags that a script and the modules of flags that it imports define."""
    for node in ast.walk(ast.parse((ROOT / script).read_text())):
        match node:
            case ast.Call(func=ast.Attribute(attr=str(call)), args=[ast.Constant(value=str(name)), *_]):
                if call.startswith("DEFINE_"):
                    yield name
    for found in imports(script):
        if found.name.startswith("xray_jax.scripts."):
            other = found.name.replace("xray_jax.", "").replace(".", "/") + ".py"
            if other != script and (ROOT / other).is_file():
                yield from defined(other)


@cache
def flags_of(command: str) -> set[str]:
    return {*defined(COMMANDS[command]), *OF_ABSL}


def known(flag: str, names: set[str]) -> bool:
    return flag in names or flag.removeprefix("no") in names


def test_flags_are_found() -> None:
    assert {"checkpoints", "planes", "probe_null", "detectors", "backend"} <= flags_of("xray-scan")
    assert {"row", "least", "min_flip_rate"} <= flags_of("xray-confirm")
    assert "checkpoints" not in flags_of("xray-calibrate")


@pytest.mark.parametrize("page", CURRENT)
def test_commands_and_their_flags_exist(page: str) -> None:
    wrong = []
    for line in documents.command_lines(page):
        name = line.split()[0].rstrip(":;,.")
        if name == "xray-jax" or name.startswith("xray-jax["):
            continue
        if name not in COMMANDS:
            wrong.append(f"{name} is no command")
            continue
        wrong += [f"{name} has no --{flag}" for flag in re.findall(r"--(\w+)", line) if not known(flag, flags_of(name))]
    assert not wrong, f"{page}: {wrong}"


@pytest.mark.parametrize("page", CURRENT)
def test_flags_named_alone_are_flags_of_some_command(page: str) -> None:
    every = set().union(*map(flags_of, COMMANDS))
    alone = [match[1] for span in documents.spans(page) if (match := re.match(r"--(\w+)", span))]
    wrong = [flag for flag in alone if not known(flag, every) and not flag.startswith("xla_")]
    assert not wrong, f"{page}: {wrong}"


@pytest.mark.parametrize("page", documents.PAGES)
def test_links_lead_somewhere(page: str) -> None:
    wrong = []
    for target in documents.links(page):
        name, _, anchor = target.partition("#")
        file = documents.path(page, name) if name else ROOT / page
        found = file.exists()
        if found and anchor:
            found = anchor in documents.anchors(str(file.resolve().relative_to(ROOT)))
        # The site holds docs/ alone.
        shown = not page.startswith("docs/") or file.resolve().is_relative_to(ROOT / "docs")
        wrong += [] if found and shown else [target]
    assert not wrong, f"{page}: {wrong}"
    if page in documents.INCLUDED:
        assert not documents.links(page), f"{page} is shown from another folder, too: name files, do not link to them"


@pytest.mark.parametrize("page", [page for page in CURRENT if not page.startswith(OF_FILES)])
def test_files_that_are_named_exist(page: str) -> None:
    folders = r"(?:xray_jax|models|scripts|tests|docs|zoo)/"
    named = [span for span in documents.spans(page) if re.fullmatch(folders + r"[\w./-]*", span)]
    wrong = [name for name in named if not (ROOT / name).exists()]
    assert not wrong, f"{page}: {wrong}"


def test_the_list_of_folders_is_the_tree() -> None:
    listed = {row[0].rstrip("/") for row in documents.table(ARCHITECTURE, "The folders")}
    package = [file.split("/") for file in files() if file.startswith(("xray_jax/", "models/", "scripts/"))]
    parts = {
        "/".join(path[:2]) for path in package if path[0] == "xray_jax" and path[-1] not in ("__init__.py", "py.typed")
    }
    # Nested packages, and the two folders that the package reaches through links.
    inner = {"/".join(path[:-1]) for path in package if path[0] == "xray_jax" and path[-1] == "__init__.py"}
    tree = (parts | inner | {"models", "scripts"}) - {"xray_jax", "xray_jax/models", "xray_jax/scripts"}
    assert listed == tree


def test_the_order_of_imports_is_the_tested_one() -> None:
    said = documents.section(ARCHITECTURE, "Who may import whom")
    (order,) = [part for part in said.split("\n\n") if " < " in part]
    assert [name.strip("` \n") for name in order.split("<")] == [part for part in ORDER if part != "public names"]


@pytest.mark.parametrize("heading", ["The walk of one checkpoint", "The walk of one query"])
def test_the_walks_go_through_functions_that_exist(heading: str) -> None:
    walk = documents.table(ARCHITECTURE, heading)
    assert len(walk) > 5
    for file, name, _ in walk:
        source = (ROOT / file).read_text()
        assert re.search(rf"^(def|class) {name}\b", source, re.MULTILINE), f"{file} has no {name}"


def test_the_diagram_is_that_of_its_source() -> None:
    """It is drawn once, because what draws it is fetched from the web when a page is read."""
    source = documents.text("docs/pictures/one_checkpoint.mmd")
    said = re.findall(r'"([^"]+)"|\w\(([\w ]+)\)', source)
    drawn = re.findall(r">([^<>]+)<", documents.text("docs/pictures/one_checkpoint.svg"))
    words = {word for label in said for word in "".join(label).split()}
    assert words <= {word for label in drawn for word in label.split()}
    assert "PreparedModel" in words


def test_every_command_is_listed() -> None:
    said = documents.section("docs/scanning.md", "The other commands")
    # The old name of xray-confirm is for those who know it already.
    assert [name for name in COMMANDS if name not in said] == ["xray-scan", "xray-prove"]


def test_the_navigation_has_every_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().split("nav:")[1].split("validation:")[0]
    listed = set(re.findall(r": ([\w./-]+\.md)$", navigation, re.MULTILINE))
    assert listed == {page.removeprefix("docs/") for page in documents.PAGES if page.startswith("docs/")}


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'version = "{version}"' in (ROOT / "MODULE.bazel").read_text()
    assert f"## {version}\n" in documents.text("CHANGELOG.md")

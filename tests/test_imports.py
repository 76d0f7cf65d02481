"""Who may import whom: one list, from the nouns that all share to the commands; and no file outgrows one idea."""

import ast
import re
import sys

import pytest

from tests.places import ROOT
from tests.source_imports import HAVE_GIT, Import, files, imports, module_name, modules

pytestmark = pytest.mark.skipif(not HAVE_GIT, reason="needs git's list of files")

ORDER = (
    "nouns",
    "models",
    "checkpoints",
    "inference",
    "prepare",
    "detectors",
    "rows",
    "verdict",
    "sweep",
    "report",
    "job",
    "public names",
    "scripts",
)
"""Each part imports itself and parts before it. Nouns: modules directly in the package. Public names: its own."""

BESIDE = ("lab", "bench", "demo")
"""Import whatever they like; of the rest, only `LABORATORY_SCRIPTS` import them."""

LABORATORY_SCRIPTS = tuple(
    f"scripts/{name}.py" for name in ("benchmark", "publish", "reproduce", "train", "train_mntd")
)

NUMERICS = {
    "xray_jax/detectors/planes/geometry.py": {"jax", "numpy"},
    "xray_jax/detectors/planes/metrics.py": {"jax", "numpy", "scipy"},
    "xray_jax/preprocess.py": {"jax"},
}
"""Module -> the packages that it may import beside the standard library and this one."""

MAX_ENTRIES, MAX_LINES = 20, 350
PACKAGE = modules("xray_jax", "models", "scripts")
KNOWN = {module_name(file) for file in PACKAGE}


def part_of(name: str) -> str | None:
    """Which part a dotted name of this package belongs to; None for other packages' names."""
    top, *rest = name.split(".")
    if top != "xray_jax":
        return None
    if not rest or f"xray_jax.{rest[0]}" not in KNOWN:
        return "public names"
    if rest[0] in ORDER or rest[0] in BESIDE:
        return rest[0]
    assert any(f"xray_jax/{rest[0]}.py" == file for file in PACKAGE), f"xray_jax/{rest[0]}/ has no place in the order"
    return "nouns"


def detector_folder(name: str) -> str | None:
    """The folder of detectors/ that a dotted name is in, if any."""
    parts = name.split(".")
    is_folder = len(parts) > 2 and f"xray_jax/detectors/{parts[2]}/__init__.py" in PACKAGE
    return parts[2] if parts[:2] == ["xray_jax", "detectors"] and is_folder else None


def offences(file: str, found: Import) -> list[str]:
    """What is wrong with one import of one of the package's files."""
    own, other = part_of(module_name(file)), part_of(found.name)
    wrong = []
    if own in ORDER and other in BESIDE and file not in LABORATORY_SCRIPTS:
        wrong.append(f"{found}: nothing that scans imports {other}")
    if own in ORDER and other in ORDER and ORDER.index(other) > ORDER.index(own):
        wrong.append(f"{found}: {other} comes after {own}")
    folders = detector_folder(module_name(file)), detector_folder(found.name)
    if None not in folders and folders[0] != folders[1]:
        wrong.append(f"{found}: detectors do not know each other; what they share lies in detectors/ itself")
    return wrong


def test_parts_import_only_parts_before_them() -> None:
    wrong = [offence for file in PACKAGE for found in imports(file) for offence in offences(file, found)]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("file", "name", "offence"),
    [
        ("models/vgg.py", "xray_jax.samples.Samples", None),
        ("models/vgg.py", "xray_jax.checkpoints.load", "checkpoints comes after models"),
        ("xray_jax/samples.py", "xray_jax.models.registry", "models comes after nouns"),
        ("xray_jax/samples.py", "xray_jax.scan_model", "public names comes after nouns"),
        ("xray_jax/detectors/registry.py", "xray_jax.detectors.probe.detector.Probe", None),
        ("xray_jax/detectors/planes/geometry.py", "xray_jax.detectors.probe", "do not know each other"),
        ("xray_jax/detectors/planes/geometry.py", "xray_jax.rows.file", "rows comes after detectors"),
        ("xray_jax/job/batch.py", "xray_jax.lab.zoo", "nothing that scans imports lab"),
        ("scripts/scan.py", "xray_jax.bench.harness", "nothing that scans imports bench"),
        ("scripts/scan.py", "xray_jax.scan_model", None),
        ("scripts/train.py", "xray_jax.lab.zoo", None),
        ("xray_jax/lab/zoo.py", "xray_jax.scripts.scan", None),
    ],
)
def test_offences_are_seen(file: str, name: str, offence: str | None) -> None:
    found = offences(file, Import(file, 7, name, late=True))
    assert not found if offence is None else len(found) == 1 and offence in found[0] and f"{file}:7" in found[0]


def test_numerics_know_no_flags_files_clocks_or_plots() -> None:
    for file, allowed in NUMERICS.items():
        for found in imports(file):
            assert found.top not in {"os", "pathlib", "time", "argparse"}, found
            assert found.top in sys.stdlib_module_names | allowed | {"xray_jax"}, found


def test_public_apis_only() -> None:
    """JAX's private modules change without notice; programs in strings count too."""
    private = re.compile(r"\bjax\._src\b")
    assert private.search("from " + "jax" + "._src import core")
    found = {name for name in modules("xray_jax", "models", "scripts", "tests") if private.search(_text(name))}
    # What sizes follow from a batch's no public function says, and MLIR's own passes fail on ordinary programs.
    assert found == {"xray_jax/checkpoints/programs/jax_export.py"}


def test_programs_in_strings_name_modules_that_exist() -> None:
    """Child processes get their program as a string, which no renaming tool and no type checker reads."""
    for file in PACKAGE:
        for node in ast.walk(ast.parse(_text(file))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for package, name in re.findall(r"\bfrom (xray_jax[\w.]*) import (\w+)", node.value):
                    assert package in KNOWN, f"{file}:{node.lineno}: {package} does not exist"
                    home = next(each for each in PACKAGE if module_name(each) == package)
                    known = f"{package}.{name}" in KNOWN or re.search(rf"\b{name}\b", _text(home))
                    assert known, f"{file}:{node.lineno}: {package} has no {name}"


def test_the_package_is_read_at_one_glance() -> None:
    entries = {file.split("/")[1] for file in files() if file.startswith("xray_jax/")}
    assert len(entries) <= MAX_ENTRIES, sorted(entries)


def test_no_file_outgrows_one_idea() -> None:
    long = {file: lines for file in files() if file.endswith(".py") and (lines := _text(file).count("\n")) > MAX_LINES}
    assert not long, f"more than {MAX_LINES} lines: {long}"


def _text(file: str) -> str:
    return (ROOT / file).read_text()

"""pyproject names what is imported and nothing else; importing the package costs what a scan needs and no more."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping

import pytest

from tests import oldest_versions
from tests.places import ROOT
from tests.source_imports import HAVE_GIT, Import, imports, module_name, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: Mapping[str, list[str]] = PROJECT["optional-dependencies"]

DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "axe_playwright_python": "axe-playwright-python",
    "cyclonedx": "cyclonedx-python-lib",
    "google": "protobuf",
    "huggingface_hub": "huggingface-hub",
    "ml_dtypes": "ml-dtypes",
    "orbax": "orbax-checkpoint",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Import name -> distribution, where they differ."""

THROUGH_OTHERS = {"flatbuffers": "jax.export imports it to read and write artefacts, and jax does not ask for it"}
"""Distribution -> why it is declared although nothing imports it."""

TOOLS = {"build", "flask", "flask-cors", "mypy", "pytest-xdist", "ruff", "setuptools"}
"""Of the extra `test`: started as programs, plugins of pytest, or asked for by others (flask by moto's server)."""

BESIDE_DATA = {"read_images"}
"""Import names that no distribution has: modules beside the shared test data."""

HEAVY = frozenset({
    "PIL", "gcsfs", "h5py", "huggingface_hub", "keras", "matplotlib", "onnx", "onnxruntime", "optax", "ray", "s3fs",
    "sklearn", "torch",
})  # fmt: skip
"""What pictures, training, tables, programs and other frameworks need, and a scan does not."""


def distribution(line: str) -> str:
    return re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0]


def distributions(found: list[Import]) -> set[str]:
    """The distributions that modules import, standard library and this repository aside."""
    tops = {each.top for each in found} - sys.stdlib_module_names - {"xray_jax", "tests"} - BESIDE_DATA
    return {DISTRIBUTIONS.get(top, top) for top in tops}


def of(*folders: str) -> list[Import]:
    return [found for file in modules(*folders) for found in imports(file)]


DECLARED = {distribution(line) for line in PROJECT["dependencies"]}
PACKAGE = of("xray_jax", "models", "scripts")
SCANS = [found for found in PACKAGE if not found.file.startswith(("xray_jax/lab/", "xray_jax/bench/"))]
needs_git = pytest.mark.skipif(not HAVE_GIT, reason="needs git's list of files")


@needs_git
def test_the_package_declares_what_it_imports() -> None:
    extras = {distribution(line) for name in ("hub", "onnx", "ray", "report", "lab") for line in EXTRAS[name]}
    # Comparisons with other frameworks are for those who develop this one.
    developers = {distribution(line) for line in EXTRAS["test"]} & distributions(of("xray_jax"))
    assert distributions(PACKAGE) | THROUGH_OTHERS.keys() == DECLARED | extras | developers
    assert not DECLARED & extras
    assert developers == {"torch"}


@needs_git
def test_extras_hold_what_their_part_adds_and_the_rest_imports_it_late() -> None:
    added = distributions(SCANS) - DECLARED
    assert added == {distribution(line) for name in ("hub", "onnx", "ray", "report") for line in EXTRAS[name]}
    early = {module_name(found.file) for found in SCANS if not found.late and not distributions([found]) <= DECLARED}
    # Those are programs of child processes, or imported inside of functions themselves.
    names = {found.name for found in PACKAGE if not found.late}
    assert not [name for name in names for module in early if f"{name}.".startswith(f"{module}.")]
    laboratory = [found for found in PACKAGE if found.file.startswith("xray_jax/lab/")]
    extra = {distribution(line) for line in EXTRAS["lab"]}
    assert distributions([found for found in laboratory if not found.late]) - DECLARED == extra


@needs_git
def test_the_test_extra_holds_what_tests_import() -> None:
    assert EXTRAS["test"][0] == "xray-jax[hub,onnx,ray,report,lab]"
    declared = {distribution(line) for line in EXTRAS["test"][1:]}
    apart = {distribution(line) for line in EXTRAS["fuzz"] + EXTRAS["oracles"]} - {"torch"}
    assert distributions(of("tests", "xray_jax")) - distributions(PACKAGE) | {"torch"} == declared - TOOLS | apart
    assert declared >= TOOLS


def test_every_claim_has_a_lower_bound_that_can_be_installed() -> None:
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    assert len(oldest_versions.constraints()) == len([line for line in lines if not line.startswith("xray-jax[")])


def loaded(program: str) -> set[str]:
    """Modules that a fresh interpreter has after running `program`."""
    program += "\nimport sys; print('loaded', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_adds_only_itself_and_scipy_to_flax() -> None:
    found = loaded("import xray_jax") - loaded("import flax.linen")
    tops = {name.split(".")[0] for name in found if not name.startswith("_")}
    assert "xray_jax" in tops
    assert not tops & HEAVY
    assert not [name for name in found if name.startswith(("jaxlib.mlir", "xray_jax.lab", "xray_jax.bench"))]
    assert not tops & {"absl", "orbax", "rich", "safetensors", "tensorstore"}


def test_loading_a_native_checkpoint_and_scanning_it_needs_nothing_heavy() -> None:
    found = loaded(
        "import pathlib, xray_jax\n"
        "from xray_jax.detectors.planes.detector import Planes\n"
        "demo = pathlib.Path(xray_jax.__file__).parent / 'demo'\n"
        "model = xray_jax.checkpoints.load(xray_jax.collect(str(demo / 'manifest.jsonl'))[0].path)\n"
        "planes = Planes(xray_jax.PlanesOptions(planes=1, density=4))\n"
        "xray_jax.scan_model(model, xray_jax.samples.read(demo / 'samples.npz'), (planes,))"
    )
    assert not {name.split(".")[0] for name in found} & HEAVY
    assert not [name for name in found if name.startswith(("xray_jax.lab", "xray_jax.bench", "xray_jax.report"))]

"""One wheel, wherever it is built: from the tree, from the source distribution, from checkouts that have no links."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.places import ROOT

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs git's list of files")

MOVED = {"models": "xray_jax/models", "scripts": "xray_jax/scripts"}
"""Top-level folder -> where the wheel holds it; git has a link of the second name."""


def run(command: Sequence[str | Path], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(cwd: Path, *arguments: str) -> str:
    return run(["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments], cwd)


def build(tree: Path, out: Path, *kinds: str) -> Path:
    """Builds in `tree` without the network; returns the wheel."""
    run([sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", out, tree], tree)
    (wheel,) = out.glob("*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, bytes]:
    """Member -> bytes, without the list of hashes, whose order may differ."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/RECORD")]
        assert len(set(names)) == len(names), "packaged twice"
        return {name: archive.read(name) for name in names}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of its own with the files of the working tree, links as links."""
    folder = tmp_path_factory.mktemp("tree")
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        # An entry that is deleted but not yet committed is listed too.
        if name and os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    git(folder, "init", "-q")
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "--no-verify", "--message=all")
    return folder


@pytest.fixture(scope="module")
def unzipped(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`git archive --format=zip`, unpacked by Python, which makes a small text file of each link."""
    folder = tmp_path_factory.mktemp("unzipped")
    git(tree, "archive", "--format=zip", f"--output={folder / 'tree.zip'}", "HEAD")
    with zipfile.ZipFile(folder / "tree.zip") as archive:
        archive.extractall(folder / "tree")
    assert all((folder / "tree" / link).is_file() for link in MOVED.values())
    return folder / "tree"


@pytest.fixture(scope="module")
def distributions(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the source distribution and the wheel that was built from it; the tree has a zoo beside the package."""
    copy, out = (tmp_path_factory.mktemp(name) for name in ("sdist", "out"))
    git(copy, "clone", "-q", str(tree), "tree")
    (copy / "tree" / "zoo").mkdir(exist_ok=True)
    (copy / "tree" / "zoo" / "weights.npz").write_bytes(b"\0" * 1000)
    build(copy / "tree", out)
    return out


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return contents(build(tree, tmp_path_factory.mktemp("wheel"), "--wheel"))


def test_the_wheel_holds_every_file_of_the_package_once(tree: Path, wheel: dict[str, bytes]) -> None:
    expected = {}
    for name in git(tree, "ls-files", "-z").split("\0"):
        top, _, rest = name.partition("/")
        if top == "xray_jax" and name not in MOVED.values():
            expected[name] = (tree / name).read_bytes()
        elif top in MOVED and name.endswith(".py"):
            expected[f"{MOVED[top]}/{rest}"] = (tree / name).read_bytes()
    found = {name: data for name, data in wheel.items() if ".dist-info/" not in name}
    assert sorted(found) == sorted(expected)
    assert found == expected


def test_the_wheel_of_the_source_distribution_is_the_same(distributions: Path, wheel: dict[str, bytes]) -> None:
    (built,) = distributions.glob("*.whl")
    assert contents(built) == wheel


def test_the_source_distribution_holds_what_the_wheel_needs_and_no_data(distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    shutil.unpack_archive(sdist, distributions / "sdist", filter="data")
    (folder,) = (distributions / "sdist").iterdir()
    assert {entry.name for entry in folder.iterdir()} <= {
        *("LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg", "setup.py"),
        *("models", "scripts", "xray_jax", "xray_jax.egg-info"),
    }
    assert sdist.stat().st_size < 4_000_000


def test_the_wheel_of_an_unzipped_archive_is_the_same(unzipped: Path, tmp_path: Path, wheel: dict[str, bytes]) -> None:
    assert contents(build(unzipped, tmp_path, "--wheel")) == wheel


def test_the_wheel_of_a_clone_without_links_is_the_same(tree: Path, tmp_path: Path, wheel: dict[str, bytes]) -> None:
    git(tmp_path, "clone", "-q", "-c", "core.symlinks=false", str(tree), "clone")
    assert (tmp_path / "clone" / "xray_jax" / "models").read_text().strip() == "../models"
    assert contents(build(tmp_path / "clone", tmp_path / "out", "--wheel")) == wheel


def test_an_editable_install_of_an_unzipped_archive_imports(unzipped: Path, tmp_path: Path) -> None:
    """What `pip install -e` puts beside the other packages, in a Python that sees no other install of this one."""
    hook = f"from setuptools import build_meta; print(build_meta.build_editable({str(tmp_path)!r}))"
    name = run([sys.executable, "-c", hook], unzipped).splitlines()[-1]
    with zipfile.ZipFile(tmp_path / name) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        f"import site, sys; site.addsitedir({str(tmp_path / 'site')!r}); sys.path.append(sys.argv[1]); "
        "import xray_jax.models.registry, xray_jax.scripts.command; "
        "print(xray_jax.models.__file__, xray_jax.scripts.__file__, xray_jax.__file__)"
    )
    found = run([sys.executable, "-ES", "-c", program, sysconfig.get_path("purelib")], tmp_path).split()
    assert [Path(file).parent for file in found] == [unzipped / "models", unzipped / "scripts", unzipped / "xray_jax"]

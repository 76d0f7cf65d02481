"""The repository's files, as git lists them, and what its modules import."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.places import ROOT

HAVE_GIT = (ROOT / ".git").exists()
"""False in an unpacked archive and in a sandbox of Bazel: nothing is listed there."""

MOVED = {"models": "xray_jax.models", "scripts": "xray_jax.scripts"}
"""Top-level folder -> the package that it becomes."""


@dataclass(frozen=True)
class Import:
    """One imported name.

    Attributes:
      name: dotted; `from a import b` gives `a.b`, whether `b` is a module or not.
      late: inside of a function, so that importing the module does not import it.
    """

    file: str
    line: int
    name: str
    late: bool

    @property
    def top(self) -> str:
        return self.name.split(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"


@cache
def files() -> tuple[str, ...]:
    """Paths from the root of all that is committed or could be, links as themselves; none without git."""
    if not HAVE_GIT:
        return ()
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    # A file that is deleted but not yet committed is listed too.
    return tuple(sorted(name for name in listed if name and ((ROOT / name).is_symlink() or (ROOT / name).is_file())))


def modules(*folders: str) -> tuple[str, ...]:
    """The Python files below top-level folders."""
    return tuple(name for name in files() if name.endswith(".py") and name.split("/")[0] in folders)


def module_name(file: str) -> str:
    """Dotted name under which a file is imported: `models/vgg.py` is `xray_jax.models.vgg`."""
    parts = list(Path(file).with_suffix("").parts)
    parts[0] = MOVED.get(parts[0], parts[0])
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(file: str) -> tuple[Import, ...]:
    """All that a file imports, wherever in it, by statement or by `pytest.importorskip`."""
    return tuple(_walk(file, ast.parse((ROOT / file).read_text()), late=False))


def _walk(file: str, node: ast.AST, late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(file, child.lineno, alias.name, late) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{file}:{child.lineno}: imports are absolute"
            yield from (Import(file, child.lineno, f"{child.module}.{alias.name}", late) for alias in child.names)
        else:
            match child:
                case ast.Call(func=ast.Attribute(attr="importorskip"), args=[ast.Constant(value=str(name)), *_]):
                    yield Import(file, child.lineno, name, late)
            inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(file, child, inside)

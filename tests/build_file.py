"""BUILD from the imports: one library per module, one test per test file, exact deps, and the data beside it.

  python -m tests.build_file      # writes BUILD

The parser at the end reads BUILD back (Starlark of this kind is a subset of Python) for `test_build.py`.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.places import ROOT

PYPI = {
    "PIL": "pillow",
    "absl": "absl_py",
    "sklearn": "scikit_learn",
    "orbax": "orbax_checkpoint",
    "yaml": "pyyaml",
}
"""Import name -> distribution, where they differ."""

LOCAL = ("xray_jax", "tests", "read_images")
"""Import names that no distribution has; `read_images` lies beside the shared test data."""

HEADER = '''"""Targets for rules_python, from `python -m tests.build_file`; tests/test_build.py fails when stale."""

load("@pypi//:requirements.bzl", "requirement")
load("@rules_python//python:defs.bzl", "py_binary", "py_library", "py_test")

package(default_visibility = ["//visibility:public"])
'''


@dataclass(frozen=True)
class Target:
    """One rule: `rule(name, srcs, data, deps)`, deps as labels and requirement names."""

    rule: str
    name: str
    srcs: tuple[str, ...]
    deps: frozenset[str]
    data: tuple[str, ...] = ()


def sources() -> Iterator[Path]:
    """Every module and test, relative to the root; models/ and scripts/ behind their links in the package."""
    for folder in ("xray_jax", "xray_jax/models", "xray_jax/scripts", "tests"):
        yield from sorted(
            file.relative_to(ROOT)
            for file in (ROOT / folder).rglob("*.py")
            if "__pycache__" not in file.parts and (ROOT / folder).resolve() in file.resolve().parents
        )


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def expected_targets() -> dict[str, Target]:
    """What BUILD must say, from the source files alone."""
    modules = {module_name(path): path for path in sources()}
    targets = {}
    for name, path in modules.items():
        rule = "py_library"
        if path.parts[0] == "tests" and path.name.startswith("test_"):
            rule = "py_test"
        target = Target(rule, _target(path), (path.as_posix(),), frozenset(_deps(path, name, modules)), _data(path))
        targets[target.name] = target
    return targets


def _target(path: Path) -> str:
    return path.with_suffix("").as_posix()


def _deps(path: Path, name: str, modules: dict[str, Path]) -> Iterator[str]:
    for imported in imports(path):
        found = next((parent for parent in _parents(imported) if parent in modules), None)
        if found is None:
            top = imported.split(".")[0]
            if top not in sys.stdlib_module_names and top not in LOCAL:
                yield f"requirement({PYPI.get(top, top)})"
        elif found != name:
            yield ":" + _target(modules[found])


def _data(path: Path) -> tuple[str, ...]:
    """Files that lie beside a module and that it names, as `"paper.json"`."""
    strings = {node.value for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.Constant)}
    beside = (file for file in (ROOT / path).parent.iterdir() if file.suffix != ".py" and file.is_file())
    return tuple(sorted((path.parent / file.name).as_posix() for file in beside if file.name in strings))


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        yield ".".join(parts[:end])


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, wherever in it; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def render(targets: dict[str, Target]) -> str:
    parts = [HEADER]
    for target in sorted(targets.values(), key=lambda target: target.name):
        lines = [f"{target.rule}(", f'    name = "{target.name}",', f'    srcs = ["{target.srcs[0]}"],']
        if target.data:
            quoted = ", ".join(f'"{file}"' for file in target.data)
            lines.append(f"    data = [{quoted}],")
        if target.deps:
            lines.append("    deps = [")
            for dep in sorted(target.deps):
                text = dep.replace("(", '("').replace(")", '")') if dep.startswith("requirement") else f'"{dep}"'
                lines.append(f"        {text},")
            lines.append("    ],")
        parts.append("\n".join([*lines, ")"]) + "\n")
    return "\n".join(parts)


def parse(text: str) -> dict[str, Target]:
    """Targets of a BUILD file."""
    targets = {}
    for statement in ast.parse(text).body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or not call.func.id.startswith("py_"):
            continue
        fields = {keyword.arg: keyword.value for keyword in call.keywords}
        deps = fields.get("deps", ast.List([]))
        assert isinstance(deps, ast.List)
        target = Target(
            call.func.id,
            ast.literal_eval(fields["name"]),
            tuple(ast.literal_eval(fields["srcs"])),
            frozenset(_dep(node) for node in deps.elts),
            tuple(ast.literal_eval(fields["data"])) if "data" in fields else (),
        )
        assert target.name not in targets, f"BUILD: two targets named {target.name}"
        targets[target.name] = target
    return targets


def _dep(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return f"requirement({ast.literal_eval(node.args[0])})"
    return str(ast.literal_eval(node))


if __name__ == "__main__":
    (ROOT / "BUILD").write_text(render(expected_targets()))

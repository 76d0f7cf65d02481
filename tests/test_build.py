import ast
import sys
import tomllib

from tests import build_file


def test_build_names_every_module_with_exactly_its_imports():
    found = build_file.parse((build_file.ROOT / "BUILD").read_text())
    expected = build_file.expected_targets()
    advice = "; run `python -m tests.build_file`"
    assert sorted(expected.keys() - found.keys()) == [], "missing from BUILD" + advice
    assert sorted(found.keys() - expected.keys()) == [], "in BUILD but not in the tree" + advice
    for name, target in expected.items():
        assert found[name] == target, name + advice


def test_the_parser_sees_a_missing_module_and_a_wrong_dep():
    targets = build_file.expected_targets()
    text = build_file.render(targets)
    assert build_file.parse(text) == targets
    planes = build_file.parse(text)["xray_jax/planes"]
    assert planes.deps == {"requirement(jax)", "requirement(numpy)"}
    assert build_file.parse(text.replace('name = "xray_jax/planes"', 'name = "xray_jax/plains"')) != targets
    assert build_file.parse(text.replace('":xray_jax/planes",', "", 1)) != targets


def test_every_requirement_is_declared_in_pyproject():
    project = tomllib.loads((build_file.ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for group in project["optional-dependencies"].values() for line in group]
    declared = {
        line.split("[")[0].split(">")[0].split("=")[0].strip().lower().replace("-", "_")
        for line in [*project["dependencies"], *extras]
    }
    used = {
        dep.removeprefix("requirement(").rstrip(")").lower()
        for target in build_file.expected_targets().values()
        for dep in target.deps
        if dep.startswith("requirement(")
    }
    assert sorted(used - declared) == []


def test_module_file_pins_rules_python_and_the_wheel_set():
    calls = [
        node.value.func.id
        for node in ast.parse((build_file.ROOT / "MODULE.bazel").read_text()).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name)
    ]
    assert "module" in calls
    assert "bazel_dep" in calls


def test_arrows_point_down_only():
    """The floors of the house: numerics know no files or flags, and nothing the scanner needs imports the lab."""
    floors = {
        "xray_jax.planes": {"jax", "numpy"},
        "xray_jax.metrics": {"jax", "numpy", "scipy"},
        "xray_jax.preprocess": {"jax"},
    }
    for path in build_file.sources():
        name = build_file.module_name(path)
        tops = {imported.split(".")[0] for imported in build_file.imports(path)}
        if name in floors:
            assert tops - sys.stdlib_module_names <= floors[name], name
            assert not tops & {"os", "pathlib", "time", "argparse"}, name
        if path.parts[0] == "xray_jax" and path.parts[1] not in ("lab", "scripts"):
            assert not any(f"{imported}.".startswith("xray_jax.lab.") for imported in build_file.imports(path)), name
        if name.startswith("xray_jax.models"):
            own = {i for i in build_file.imports(path) if i.startswith("xray_jax") and "models" not in i}
            assert own == set(), name

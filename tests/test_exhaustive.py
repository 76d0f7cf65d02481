"""Which cases of a heavy test run, as pytest itself collects them from a file of such tests."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.places import ROOT

TESTS = """
import pytest

exhaustive = pytest.mark.exhaustive

@exhaustive
@pytest.mark.parametrize("number", range(10))
def test_one_list(number): ...

@exhaustive
@pytest.mark.parametrize("number", range(3))
def test_short_list(number): ...

@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("letter", "abcde")
@exhaustive
def test_crossed(letter, number): ...

@exhaustive
@pytest.mark.parametrize(("number", "square"), [(k, k * k) for k in range(6)])
def test_given_together(number, square): ...

@exhaustive
@pytest.mark.parametrize("number, double", [(k, 2 * k) for k in range(6)])
def test_given_together_in_one_string(number, double): ...

@exhaustive
def test_without_cases(): ...

@pytest.mark.parametrize("number", range(5))
def test_not_marked(number): ...

@pytest.fixture(params=range(5))
def made(request): ...

@exhaustive
class TestOfAFixture:
    def test_in_a_class(self, made): ...
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heavy")
    (folder / "test_heavy.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = exhaustive\n")
    return folder


def collected(folder: Path, *arguments: str) -> dict[str, list[str]]:
    """Test -> its cases that run, in order."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "tests.exhaustive", "-p", "no:xdist"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    found = subprocess.run([*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    cases = defaultdict(list)
    for line in found.stdout.splitlines():
        if "::" in line:
            name, _, case = line.split("::")[-1].partition("[")
            cases[name].append(case.rstrip("]"))
    return dict(cases)


def test_a_fixed_part_of_every_marked_test_runs(folder: Path) -> None:
    part = collected(folder, "test_heavy.py")
    assert part["test_one_list"] == ["0", "4", "8"]
    assert part["test_short_list"] == ["0"]
    assert part["test_given_together"] == ["0-0", "4-16"]
    assert part["test_given_together_in_one_string"] == ["0-0", "4-8"]
    assert part["test_in_a_class"] == ["0", "4"]
    # Each letter and each number appears in the diagonal.
    assert sorted(part["test_crossed"]) == ["a-0", "a-4", "b-3", "c-2", "d-1", "d-5", "e-0", "e-4"]
    assert part["test_without_cases"] == [""]
    assert part["test_not_marked"] == list("01234")


def test_all_cases_run_where_they_are_asked_for_or_the_test_is_named(folder: Path) -> None:
    every = collected(folder, "--exhaustive", "test_heavy.py")
    counts = {name: len(cases) for name, cases in every.items()}
    assert counts == {
        "test_one_list": 10, "test_short_list": 3, "test_crossed": 30, "test_given_together": 6,
        "test_given_together_in_one_string": 6, "test_without_cases": 1, "test_not_marked": 5, "test_in_a_class": 5,
    }  # fmt: skip
    assert collected(folder, "test_heavy.py::test_one_list") == {"test_one_list": every["test_one_list"]}
    assert collected(folder, "test_heavy.py::test_one_list[7]") == {"test_one_list": ["7"]}

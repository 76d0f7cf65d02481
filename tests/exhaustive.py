"""Heavy tests that sweep over many cases run a fixed part of them, and all of them with `--exhaustive`.

Of a test marked `exhaustive` those cases run whose places in its parametrisations add up to a multiple of `STRIDE`: of
one list every fourth case, of two crossed lists a diagonal, so that each value of the one appears where the other is as
long as the stride. The first case is always among them. Nothing else has a say: not chance, the other tests, nor the
number of workers. Whoever names a test (`file.py::test`) gets all of its cases.
"""

from collections import defaultdict
from collections.abc import Sequence

import pytest

STRIDE = 4


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="Run every case of tests marked exhaustive, not a part.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if every_case_is_wanted(config):
        return
    tests = defaultdict(list)
    for item in items:
        if item.get_closest_marker("exhaustive"):
            tests[item.nodeid.partition("[")[0]].append(item)
    left_out = [item for cases in tests.values() for item in beyond_the_part(cases)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def exhaustive(pytestconfig: pytest.Config) -> bool:
    """Whether every case is wanted: for tests that repeat something as often as there is time for."""
    return every_case_is_wanted(pytestconfig)


def every_case_is_wanted(config: pytest.Config) -> bool:
    return config.getoption("--exhaustive") or any("::" in argument for argument in config.args)


def beyond_the_part(cases: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Those of all cases of one test, in order, that do not belong to its part."""
    # Parametrisation -> the names of its values, numbered as they come.
    numbers: dict[int, dict[str, int]] = defaultdict(dict)
    beyond = []
    for case in cases:
        call = getattr(case, "callspec", None)
        values = [] if call is None else call._idlist
        places = [numbers[axis].setdefault(value, len(numbers[axis])) for axis, value in enumerate(values)]
        if sum(places) % STRIDE:
            beyond.append(case)
    return beyond

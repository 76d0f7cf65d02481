from pathlib import Path

import pytest

from tests.places import ROOT


def test_every_file_of_tests_is_collected(request: pytest.FixtureRequest) -> None:
    """A folder that a setting leaves out by its name would never fail."""
    config = request.config
    if config.option.keyword or config.option.markexpr or [*config.args] != config.getini("testpaths"):
        pytest.skip("only a part of the suite was asked for")
    collected = {Path(item.path) for item in request.session.items}
    assert not sorted(set((ROOT / "tests").rglob("test_*.py")) - collected)

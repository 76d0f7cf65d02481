import pytest

from tests.oracles.compare import assert_published


@pytest.mark.parametrize("version", ["squeezenet1_0", "squeezenet1_1"])
def test_published(version: str) -> None:
    """Which have their pools in different places."""
    assert_published(version, version)

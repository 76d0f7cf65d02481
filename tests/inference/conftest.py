"""One scene for all tests of inference."""

import pytest

from tests.inference import scene as scenes


@pytest.fixture(scope="session")
def scene() -> scenes.Scene:
    return scenes.make()

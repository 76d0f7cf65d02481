"""What searches kept, replayed without atheris: each input opens or is refused with a clear error, within bounds."""

import sys

import pytest

from tests.fuzz import corpora
from tests.fuzz.targets import REHEARSAL, TARGETS
from tests.fuzz.watch import Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bounds are watched through Linux's /proc")


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    yield Watch(tmp_path_factory.mktemp("inputs"))
    REHEARSAL.stop()


def test_every_reader_has_inputs():
    assert corpora.readers() == sorted(TARGETS)


@pytest.mark.parametrize("reader", TARGETS)
def test_inputs_are_opened_or_refused(reader, watch):
    inputs = corpora.kept(reader)
    # What is imported and compiled once is no input's doing.
    watch.warm(TARGETS[reader], inputs.values())
    opened = [watch.examine(TARGETS[reader], data) for data in inputs.values()]
    # Or the search would have begun nowhere.
    assert any(opened)

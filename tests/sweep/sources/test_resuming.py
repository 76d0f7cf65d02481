"""A download goes on only in the content that it began with, and begins again where that cannot be known."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.sweep.sources.fetches import IMPATIENT, content
from tests.sweep.sources.servers import Answer, Served, Server, serve

OLD, NEW = b"A" * 4000, b"B" * 4000


class _Replaced(Server):
    """Has other content, or gives this answer, from the third request on: after a look, and a body that breaks off."""

    def __init__(self, etag: str | None, answer: Answer | None = None, content: bytes = NEW) -> None:
        super().__init__({"/x.pth": Served(OLD, etag, cuts=[2000])})
        self._answer, self._content = answer, content

    def find(self, path: str, query: Mapping[str, list[str]]) -> Served | None:
        found = super().find(path, query)
        if found is not None and len(self.log) == 3:
            found.content = self._content
            found.answers += [] if self._answer is None else [self._answer]
        return found


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_tag_two_contents_are_never_pieced_together(etag: str | None, tmp_path: Path) -> None:
    with serve(_Replaced(etag)) as server:
        assert content(f"{server.url}/x.pth") == NEW
    assert [asked.range for asked in server.log] == ["bytes=0-0", None, None]
    # Nor in another run that goes on with what this one has left.
    options = dataclasses.replace(IMPATIENT, cache=tmp_path, attempts=1)
    with serve(_Replaced(etag)) as server:
        with pytest.raises(ValueError, match="ended at byte 2000"):
            content(f"{server.url}/x.pth", options)
        server.files["/x.pth"].content = NEW
        assert content(f"{server.url}/x.pth", options) == NEW


def test_it_begins_again_where_the_server_has_no_bytes_there() -> None:
    with serve(_Replaced('"same"', (416, {}), OLD)) as server:
        assert content(f"{server.url}/x.pth") == OLD
    assert [asked.range for asked in server.log] == ["bytes=0-0", None, "bytes=2000-", None]

"""Objects of S3, from moto's server."""

import dataclasses
from collections.abc import Iterator

import pytest

from tests.sweep.sources import buckets, fetches
from tests.sweep.sources.fetches import IMPATIENT
from xray_jax.sweep.sources.address import SourceError

LARGE = bytes(range(256)) * 10_000
OPTIONS = dataclasses.replace(IMPATIENT, timeout=10)


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with buckets.s3():
        for key in ("zoo/a.pth", "zoo/deep/b.onnx", "zoo/notes.txt", "zoological.pth"):
            buckets.put(key, LARGE if key.endswith("a.pth") else key.encode())
        buckets.put("evil/../../x.pth", b"x")
        buckets.put("evil/good.pth", b"y")
        yield


def test_a_prefix_is_what_lies_below_it() -> None:
    found = fetches.listed("s3://models/zoo", OPTIONS)
    assert list(found) == ["a.pth", "deep/b.onnx"]
    assert [each.address.shown for each in found.values()] == ["s3://models/zoo/a.pth", "s3://models/zoo/deep/b.onnx"]
    assert len({each.revision for each in found.values()}) == 2


def test_an_object_in_several_ranges() -> None:
    assert fetches.content("s3://models/zoo/a.pth", OPTIONS) == LARGE


def test_a_name_that_leads_elsewhere_is_a_problem_of_its_own() -> None:
    found = fetches.listed("s3://models/evil", OPTIONS)
    assert {name: each.problem is None for name, each in found.items()} == {"../../x.pth": False, "good.pth": True}
    with fetches.fetcher(OPTIONS) as made, pytest.raises(SourceError, match="refused"):
        fetches.fetch(made, found["../../x.pth"])


def test_an_object_that_changes_after_it_was_listed() -> None:
    buckets.put("moving/x.pth", b"before")
    with fetches.fetcher(OPTIONS) as made:
        looked = made.look(fetches.remote("s3://models/moving/x.pth"))
        buckets.put("moving/x.pth", b"after")
        with pytest.raises(SourceError, match="changed"):
            made.fetch(looked, made.turns.take())


@pytest.mark.parametrize("address", ["s3://nowhere/x", "s3://models/none", "s3://models/none.pth"])
def test_what_is_not_there_is_said(address: str) -> None:
    with pytest.raises(SourceError, match="check the address"):
        fetches.listed(address, OPTIONS)


def test_too_large_is_known_before_anything_is_fetched() -> None:
    with pytest.raises(SourceError, match="--max_download"):
        fetches.content("s3://models/zoo/a.pth", dataclasses.replace(OPTIONS, max_download=1000))


def test_an_object_with_others_below_its_name_hides_behind_none_of_them() -> None:
    for key in ("both/x.pth", "both/x.pth/clean.pth", "both/x.pth/model.safetensors"):
        buckets.put(key, key.encode())
    found = fetches.listed("s3://models/both/x.pth", OPTIONS)
    assert list(found) == ["x.pth", "x.pth (2)", "clean.pth"]
    assert list(fetches.listed("s3://models/both/x.pth/", OPTIONS)) == ["x.pth", "clean.pth"]
    with fetches.fetcher(OPTIONS) as made:
        copies = [fetches.fetch(made, each).path for each in (found["x.pth"], found["clean.pth"])]
        assert [path.read_bytes() for path in copies] == [b"both/x.pth", b"both/x.pth/clean.pth"]
    # A line of a manifest is the object itself.
    assert fetches.content("s3://models/both/x.pth", OPTIONS) == b"both/x.pth"

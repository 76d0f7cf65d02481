"""Single fetches, for the tests of this folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from xray_jax.sweep.sources.address import parse
from xray_jax.sweep.sources.fetcher import Copy, Fetcher
from xray_jax.sweep.sources.listing import Sources
from xray_jax.sweep.sources.options import SourceOptions
from xray_jax.sweep.sources.remote import Remote

IMPATIENT = SourceOptions(timeout=0.5, backoff=0.01, longest_wait=2.0, attempts=3)


def remote(address: str) -> Remote:
    """A checkpoint that nobody has looked at."""
    found = parse(address)
    assert found is not None
    return Remote(found)


def listed(address: str, options: SourceOptions = IMPATIENT) -> dict[str, Remote]:
    """Name -> what lies at an address."""
    return dict(Sources(options, Event()).find(remote(address).address))


@contextlib.contextmanager
def fetcher(options: SourceOptions = IMPATIENT) -> Iterator[Fetcher]:
    """One that is closed in the end, whatever happens."""
    with contextlib.closing(Fetcher(options)) as made:
        yield made


def fetch(made: Fetcher, what: Remote) -> Copy:
    """A copy, in its turn."""
    turn = made.turns.take()
    try:
        return made.fetch(made.look(what), turn)
    finally:
        made.turns.passes(turn)


def content(address: str, options: SourceOptions = IMPATIENT) -> bytes:
    """The bytes of the one file at an address."""
    with fetcher(options) as made:
        copy = fetch(made, remote(address))
        assert isinstance(copy.path, Path)
        return copy.path.read_bytes()

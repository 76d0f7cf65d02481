"""The cache: bounded, nothing removed that somebody holds, nothing trusted that has changed; several processes."""

import contextlib
import dataclasses
import hashlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.sweep.sources import fetches
from tests.sweep.sources.fetches import IMPATIENT
from tests.sweep.sources.servers import Served, Server, serve
from xray_jax.sweep.sources.address import SourceError
from xray_jax.sweep.sources.cache import Cache, Held
from xray_jax.sweep.sources.fetcher import Fetcher

KIB = 1 << 10


def fill(cache: Cache, key: str, size: int = 4 * KIB) -> Held:
    """A finished copy of one file, held."""
    held = cache.hold(key)
    cache.reserve(held, size)
    held.part(0).write_bytes(b"x" * size)
    held.place(0, "file")
    assert held.finish({"file": hashlib.sha256(b"x" * size).hexdigest()})
    return held


def make(folder: Path, limit: int = 10 * KIB, wait: float = 0.3) -> Cache:
    return Cache(folder / "cache", limit, wait, threading.Event())


def test_the_copy_that_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    cache = make(tmp_path)
    for number, key in enumerate("ab"):
        fill(cache, key).release()
        os.utime(cache.folder / key / "size", (number, number))
    cache.hold("a").release()
    fill(cache, "c").release()
    assert sorted(path.name for path in cache.folder.iterdir() if not path.name.startswith(".")) == ["a", "c"]
    assert cache.total() <= 10 * KIB


def test_what_somebody_holds_stays(tmp_path: Path) -> None:
    cache = make(tmp_path)
    first, second = fill(cache, "a"), fill(cache, "b")
    held = cache.hold("c")
    with pytest.raises(SourceError, match="no room"):
        cache.reserve(held, 4 * KIB)
    second.release()
    cache.reserve(held, 4 * KIB)
    assert first.copy.exists()
    assert not second.copy.exists()


def test_a_copy_that_was_changed_is_fetched_anew(tmp_path: Path) -> None:
    options = dataclasses.replace(IMPATIENT, cache=tmp_path)
    with serve(Server({"/x.pth": Served(b"content")})) as server:
        address = f"{server.url}/x.pth"
        assert fetches.content(address, options) == b"content"
        assert fetches.content(address, options) == b"content"
        assert len(server.bodies()) == 1
        (copy,) = tmp_path.glob("*/copy/x.pth")
        copy.write_bytes(b"changed")
        assert fetches.content(address, options) == b"content"
        assert len(server.bodies()) == 2
        # Other content at the same address is another copy.
        server.files["/x.pth"] = Served(b"new", '"second"')
        assert fetches.content(address, options) == b"new"


def test_a_damaged_copy_is_fetched_anew_though_another_run_uses_it(tmp_path: Path) -> None:
    options = dataclasses.replace(IMPATIENT, cache=tmp_path)
    with (
        serve(Server({"/x.pth": Served(b"content")})) as server,
        fetches.fetcher(options) as first,
        fetches.fetcher(options) as second,
        fetches.fetcher(options) as third,
    ):
        what = fetches.remote(f"{server.url}/x.pth")
        used = fetches.fetch(first, what)
        used.path.write_bytes(b"damaged")
        with open(used.path, "rb") as file, ThreadPoolExecutor(1) as pool:
            fetched = pool.submit(fetches.fetch, second, what)
            # Whether or not it waits for the other one.
            with contextlib.suppress(TimeoutError):
                fetched.result(timeout=1)
            used.release()
            assert fetched.result().path.read_bytes() == b"content"
            assert file.read() == b"damaged"
        # Letting go of what is gone takes nothing away from those who have it anew.
        assert fetches.fetch(third, what).path.read_bytes() == b"content"
        assert len(server.bodies()) == 2


def test_letting_go_of_what_others_have_removed_leaves_the_new_copy(tmp_path: Path) -> None:
    cache = make(tmp_path)
    old, same = fill(cache, "a"), cache.hold("a")
    cache.discard(same)
    fill(cache, "a").release()
    old.release(remove=True)
    assert cache.hold("a").shared


def test_what_a_killed_run_had_is_gone_on_with(tmp_path: Path) -> None:
    options = dataclasses.replace(IMPATIENT, cache=tmp_path, attempts=1)
    with serve(Server({"/x.pth": Served(b"0123456789" * KIB, cuts=[1000])})) as server:
        address = f"{server.url}/x.pth"
        with pytest.raises(SourceError, match="ended at byte 1000"):
            fetches.content(address, options)
        assert fetches.content(address, options) == b"0123456789" * KIB
    assert [asked.range for asked in server.log if asked.range != "bytes=0-0"] == [None, "bytes=1000-"]


def test_a_server_that_sends_more_than_it_declares_takes_no_more_room(tmp_path: Path) -> None:
    """It declares one byte in an answer to a range, and sends more in one without a length."""
    options = dataclasses.replace(IMPATIENT, cache=tmp_path, cache_limit=8 * KIB, max_download=8 * KIB)
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + bytes(KIB) + b"\r\n"
    with serve(Server({f"/{n}.pth": Served(b"x", f'"{n}"', raw=chunks) for n in range(3)})) as server:
        for path in server.files:
            with pytest.raises(SourceError, match="1 bytes were declared, the server sends more"):
                fetches.content(server.url + path, options)
        assert sum(file.stat().st_size for file in tmp_path.glob("*/part-*")) == 0
        # Nor what it has sent before it declared less.
        server.files["/0.pth"] = Served(bytes(4 * KIB), '"new"', cuts=[2 * KIB] * 3)
        with pytest.raises(SourceError, match="the body ended at byte 2048 of 4096"):
            fetches.content(f"{server.url}/0.pth", dataclasses.replace(options, attempts=1))
        ended = b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 2048-2048/1\r\nContent-Length: 0\r\n\r\n"
        server.files["/0.pth"] = Served(b"x", '"new"', raw=ended)
        with pytest.raises(SourceError, match="the server sent bytes from 2048 on when asked for 0"):
            fetches.content(f"{server.url}/0.pth", options)
    assert sum(file.stat().st_size for file in tmp_path.glob("*/part-*")) == 0


def test_several_threads_fetch_one_thing_once(tmp_path: Path) -> None:
    options = dataclasses.replace(IMPATIENT, cache=tmp_path)
    with serve(Server({"/x.pth": Served(b"x" * KIB)})) as server, fetches.fetcher(options) as made:
        with ThreadPoolExecutor(4) as pool:
            copies = list(pool.map(lambda _: fetches.fetch(made, fetches.remote(f"{server.url}/x.pth")), range(8)))
        assert {copy.path.read_bytes() for copy in copies} == {b"x" * KIB}
        assert len(server.bodies()) == 1


def test_room_is_given_in_turn(tmp_path: Path) -> None:
    """Later ones that are ready first must not hold the room that an earlier one waits for."""
    options = dataclasses.replace(IMPATIENT, cache_limit=3 * KIB, max_download=2 * KIB, room_wait=20.0)
    files = {f"/{number}.pth": Served(bytes([number]) * 2 * KIB) for number in range(12)}
    with serve(Server(files)) as server, fetches.fetcher(options) as made:
        turns = [made.turns.take() for _ in files]

        def one(number: int) -> bytes:
            time.sleep(0.02 * (number % 3 == 0))
            try:
                copy = made.fetch(made.look(fetches.remote(f"{server.url}/{number}.pth")), turns[number])
            finally:
                made.turns.passes(turns[number])
            content = copy.path.read_bytes()
            copy.release()
            return content

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(one, range(len(files)))) == [served.content for served in files.values()]


def fetch_often(url: str, cache: Path) -> None:
    """Fetches more than the cache can hold."""
    options = dataclasses.replace(IMPATIENT, cache=cache, cache_limit=5000, room_wait=30.0, timeout=10.0)
    with fetches.fetcher(options) as made:
        for number in range(8):
            copy = fetches.fetch(made, fetches.remote(f"{url}/{number % 4}.pth"))
            assert copy.path.read_bytes() == bytes([number % 4]) * 2 * KIB
            copy.release()


def test_several_processes_share_it(tmp_path: Path) -> None:
    files = {f"/{number}.pth": Served(bytes([number]) * 2 * KIB) for number in range(4)}
    folder = tmp_path / "cache"
    with serve(Server(files)) as server:
        program = (
            "import sys, pathlib; from tests.sweep.sources import test_cache; "
            "print('ready', flush=True); input(); test_cache.fetch_often(sys.argv[1], pathlib.Path(sys.argv[2]))"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        command = [sys.executable, "-c", program, server.url, str(folder)]
        with subprocess.Popen(
            command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            assert other.stdin is not None
            other.stdin.write("\n")
            other.stdin.close()
            fetch_often(server.url, folder)
            assert other.wait(60) == 0
    assert Cache(folder, 5000, 1.0, threading.Event()).total() <= 5000


def test_a_folder_of_the_run_is_gone_with_it() -> None:
    with serve(Server({"/x.pth": Served(b"x")})) as server:
        made = Fetcher(IMPATIENT)
        copy = fetches.fetch(made, fetches.remote(f"{server.url}/x.pth"))
        assert copy.path.exists()
        made.close()
        assert not copy.path.parents[2].exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        serve(Server({"/x.pth": Served(b"x")})) as server,
        pytest.raises(SourceError, match="choose another folder"),
    ):
        fetches.content(f"{server.url}/x.pth", dataclasses.replace(IMPATIENT, cache=tmp_path / "file" / "cache"))

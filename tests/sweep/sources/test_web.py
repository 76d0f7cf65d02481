"""Web servers with every fault that one can have: what is fetched is whole, and each failure says what to do."""

import dataclasses
import hashlib
import http.client
import io
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.sources import fetches
from tests.sweep.sources.fetches import IMPATIENT, content
from tests.sweep.sources.servers import REPEATS, Served, Server, serve
from xray_jax.sweep.sources import web
from xray_jax.sweep.sources.address import SourceError

BYTES = bytes(range(256)) * 4000


def failure(served: Served, **options: Any) -> tuple[str, Server]:
    """What is said of a file that cannot be fetched."""
    with serve(Server({"/x.pth": served})) as server, pytest.raises(SourceError) as error:
        content(f"{server.url}/x.pth", dataclasses.replace(IMPATIENT, **options))
    assert f"{server.url}/x.pth" in str(error.value)
    return str(error.value), server


@pytest.mark.parametrize(("status", "advice"), [(404, "check the address"), (401, "user and password"), (410, "gone")])
def test_no_such_file_is_said_at_once(status: int, advice: str) -> None:
    text, server = failure(Served(BYTES, answers=[(status, {})]))
    assert str(status) in text
    assert advice in text
    assert len(server.log) == 1


def test_what_may_pass_is_tried_again_after_the_wait_that_is_asked_for() -> None:
    served = Served(BYTES, answers=[(429, {"Retry-After": "1"}), (503, {})])
    started = time.monotonic()
    with serve(Server({"/x.pth": served})) as server:
        assert content(f"{server.url}/x.pth") == BYTES
    assert time.monotonic() - started >= 1
    assert len(server.log) == 4


def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for() -> None:
    text, server = failure(Served(BYTES, answers=[(429, {"Retry-After": "86400"})]))
    assert "86400 s" in text
    assert len(server.log) == 1


def test_attempts_end() -> None:
    text, server = failure(Served(BYTES, answers=[(500, {})] * 9))
    assert "(3 attempts)" in text
    assert len(server.log) == 3


def test_a_body_that_breaks_off_goes_on_where_it_ended() -> None:
    with serve(Server({"/x.pth": Served(BYTES, cuts=[1000, 500_000])})) as server:
        assert content(f"{server.url}/x.pth") == BYTES
    assert [asked.range for asked in server.log] == ["bytes=0-0", None, "bytes=1000-", "bytes=501000-"]


def test_without_ranges_it_begins_anew() -> None:
    with serve(Server({"/x.pth": Served(BYTES, ranges=False, cuts=[1000])})) as server:
        assert content(f"{server.url}/x.pth") == BYTES


def test_a_body_that_always_breaks_off_is_an_error() -> None:
    text, _ = failure(Served(BYTES, cuts=[1000] * 9))
    assert "of 1024000" in text


def test_the_same_bytes_again_are_no_progress() -> None:
    served = Served(bytes(3 << 20), ranges=False, cuts=[2 << 20, 0] * 4)
    text, server = failure(served)
    assert "(3 attempts)" in text
    assert len(server.bodies()) == 3


def test_what_is_declared_too_large_is_not_begun() -> None:
    text, server = failure(Served(BYTES), max_download=1000)
    assert "--max_download" in text
    assert server.bodies() == []


def test_an_endless_body_ends_at_the_limit() -> None:
    text, _ = failure(Served(b"x" * 10_000, ranges=False, endless=True), max_download=1_000_000)
    assert "--max_download" in text


def test_a_slow_body_is_given_up() -> None:
    text, _ = failure(Served(BYTES, drip=0.05), slow_window=0.2, attempts=1)
    assert "slow server" in text


def test_a_body_that_always_brings_enough_to_go_on_ends_all_the_same() -> None:
    served = Served(bytes(20), drip=0.05)
    text, server = failure(served, fetch_seconds=0.1)
    assert "too slow a server" in text
    assert len(server.bodies()) == 1
    # Waits between attempts count.
    text, server = failure(Served(bytes(20), cuts=[5] * 9), fetch_seconds=0.1, backoff=0.2)
    assert "too slow a server" in text
    assert len(server.bodies()) == 1
    # What is large may take its time.
    with serve(Server({"/x.pth": served})) as server:
        options = dataclasses.replace(IMPATIENT, fetch_seconds=0.1, fetch_rate=1)
        assert content(f"{server.url}/x.pth", options) == bytes(20)


def test_a_head_that_never_ends_is_given_up() -> None:
    started = time.monotonic()
    text, _ = failure(Served(BYTES, silent=0.1), attempts=1)
    assert "no answer" in text
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("chunks", "again"), [(b"4\r\nabcd\r\n0\r\n", b"X: y\r\n"), (b"4;", b"e")], ids=["trailers", "extension"]
)
def test_what_goes_on_beside_the_bytes_of_a_chunk_is_given_up(chunks: bytes, again: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    served = Served(b"abcd", etag=None, raw=raw, again=again, drip=0.05)
    text, _ = failure(served, timeout=0.2, attempts=1)
    assert "the body broke off (TimeoutError)" in text


def test_the_body_of_a_redirect_is_not_read() -> None:
    raw = b"HTTP/1.1 302 Found\r\nLocation: /y.pth\r\n\r\n"
    served = Served(BYTES, raw=raw, again=bytes(1 << 20))
    with serve(Server({"/x.pth": served, "/y.pth": Served(BYTES)})) as server:
        assert content(f"{server.url}/x.pth") == BYTES
    assert served.sent < REPEATS // 2


def test_a_file_that_changes_meanwhile_is_not_pieced_together() -> None:
    with serve(Server({"/x.pth": Served(BYTES)})) as server, fetches.fetcher() as made:
        looked = made.look(fetches.remote(f"{server.url}/x.pth"))
        server.files["/x.pth"] = Served(b"other", '"second"')
        with pytest.raises(SourceError, match="changed"):
            made.fetch(looked, made.turns.take())


def test_without_a_length_and_a_tag_it_is_fetched_all_the_same() -> None:
    served = Served(BYTES, etag=None, ranges=False)
    with serve(Server({"/x.pth": served})) as server, fetches.fetcher() as made:
        looked = made.look(fetches.remote(f"{server.url}/x.pth"))
        assert looked.revision is None
        looked = dataclasses.replace(looked, files=(dataclasses.replace(looked.files[0], size=None),))
        assert made.fetch(looked, made.turns.take()).path.read_bytes() == BYTES


def test_a_declared_hash_is_checked() -> None:
    with serve(Server({"/x.pth": Served(BYTES)})) as server, fetches.fetcher() as made:
        looked = made.look(fetches.remote(f"{server.url}/x.pth"))
        wrong = dataclasses.replace(looked.files[0], sha256=hashlib.sha256(b"").hexdigest())
        with pytest.raises(SourceError, match="SHA-256"):
            made.fetch(dataclasses.replace(looked, files=(wrong,)), made.turns.take())


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/"])
def test_no_redirect_leaves_the_web(target: str) -> None:
    text, _ = failure(Served(answers=[(302, {"Location": target})]))
    assert "not followed" in text


def test_a_redirect_takes_no_credentials_elsewhere() -> None:
    with serve(Server({"/y.pth": Served(BYTES)})) as other, serve(Server()) as server:
        server.files["/x.pth"] = Served(answers=[(302, {"Location": f"{other.url}/y.pth"})] * 2)
        assert content(server.url.replace("://", "://me:pw@") + "/x.pth") == BYTES
    assert {asked.authorization for asked in server.log} == {"Basic bWU6cHc="}
    assert {asked.authorization for asked in other.log} == {None}


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("https://host/x", "http://host/x", "redirects to http://"),
        ("https://host/x", "https://127.0.0.1/x", "local network"),
        ("https://host/x", "https://169.254.169.254/latest", "local network"),
    ],
)
def test_no_redirect_to_less_than_was_asked_for(
    before: str, after: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_local", lambda host: host != "host")
    with pytest.raises(SourceError, match=what):
        web._Redirects().redirect_request(
            urllib.request.Request(before), io.BytesIO(), 302, "Found", http.client.HTTPMessage(), after
        )


def test_a_name_that_stands_for_another_server_by_then_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """By DNS, all servers are elsewhere when a redirect is checked."""
    with serve(Server({"/y.pth": Served(BYTES)})) as inner, serve(Server()) as server:
        server.files["/x.pth"] = Served(answers=[(302, {"Location": f"{inner.url}/y.pth"})] * 9)
        monkeypatch.setattr(web, "is_local", lambda host: False)
        with pytest.raises(SourceError, match=f"{server.url}/x.pth: it redirects into a local network"):
            content(f"{server.url}/x.pth")
        assert inner.log == []
        # Nor from what merely says that it is here itself.
        monkeypatch.setattr(web, "is_local", lambda host: True)
        monkeypatch.setattr(web, "_is_global", lambda number: True)
        with pytest.raises(SourceError, match="redirects into a local network"):
            content(f"{server.url}/x.pth")
        assert inner.log == []
        # Of a proxy's own place nothing follows.
        monkeypatch.undo()
        monkeypatch.setattr(web, "is_local", lambda host: False)
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("http_proxy", server.url)
        server.files["/x.pth"].answers[:] = [(302, {"Location": "http://host/y.pth"})] * 2
        server.files["/y.pth"] = Served(BYTES)
        assert content("http://host/x.pth") == BYTES


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("169.254.169.254", True), ("8.8.8.8", False)])
def test_local_networks(host: str, local: bool) -> None:
    assert web.is_local(host) is local


def test_what_is_not_ascii_in_an_address_is_escaped_and_nothing_else() -> None:
    with serve(Server({"/modèle %.pth": Served(BYTES)})) as server, fetches.fetcher() as made:
        copy = fetches.fetch(made, fetches.remote(f"{server.url}/modèle%20%25.pth?für=%2F+x"))
        assert copy.path.name == "modèle %.pth"
        assert copy.path.read_bytes() == BYTES
    assert len(server.log) == 2
    assert web._ascii("https://host:1/è%20+;a?ü=%2F+x&y=[1]") == "https://host:1/%C3%A8%20+;a?%C3%BC=%2F+x&y=[1]"


def test_secrets_are_in_no_message(tmp_path: Path) -> None:
    with serve(Server()) as server, pytest.raises(SourceError) as error:
        content(server.url.replace("://", "://me:pw@") + "/x.pth?signature=secret")
    assert "404" in str(error.value)
    assert "pw" not in str(error.value)
    assert "secret" not in str(error.value)

"""Worker processes that try to connect: refused where the platform can, and said where it cannot."""

import functools
import platform
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.places import ROOT
from tests.rows.rows import error_row
from xray_jax.sweep import no_network
from xray_jax.sweep.batch_scan import OnStage
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.sweep.isolated import IsolationOptions, scatter

PLATFORM = sys.platform == "linux" and platform.machine() in no_network._CALLS
needs_filter = pytest.mark.skipif(not PLATFORM, reason="the filter is for Linux on x86-64 and ARM64")


class Connecting:
    """Instead of a scan it connects to a server of this machine, and says how that went."""

    def __init__(self, port: int) -> None:
        self._port = port

    def rows(self, entries: Sequence[Entry], done: Mapping[Any, Any], on_stage: OnStage) -> Iterator[Any]:
        for entry in entries:
            row = error_row(id=entry.id, sha256="a" * 64)
            on_stage("load", row)
            try:
                socket.create_connection(("127.0.0.1", self._port), 10).close()
                row["reason"] = "connected"
            except OSError as error:
                row["reason"] = repr(error)
            yield row


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def reason(server: socket.socket, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    monkeypatch.syspath_prepend(ROOT)
    make = functools.partial(Connecting, server.getsockname()[1])
    (row,) = scatter(make, [Entry("a", Path("a"))], {}, IsolationOptions(**options))
    return str(row["reason"])


@needs_filter
def test_a_worker_has_no_network(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert reason(server, monkeypatch) == "PermissionError(13, 'Permission denied')"
    assert "worker processes: cut off from the network\n" in capfd.readouterr().err


def test_a_worker_keeps_it_where_that_is_asked_for(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert reason(server, monkeypatch, worker_network=True) == "connected"
    assert "worker processes: not cut off from the network (it was asked for)\n" in capfd.readouterr().err


PROGRAM = """
    import asyncio, contextlib, os, socket, subprocess, sys, threading
    from xray_jax.sweep.no_network import cut_off

    tried, found = threading.Event(), []

    def connect():
        tried.wait()
        with contextlib.suppress(PermissionError):
            found.append(socket.socket())

    before = threading.Thread(target=connect)
    before.start()
    server = socket.create_server(("127.0.0.1", 0))
    unconnected = socket.socket()
    assert cut_off() is None
    tried.set()
    before.join()
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
        with contextlib.suppress(PermissionError):
            found.append(socket.socket(family))
    with contextlib.suppress(PermissionError):
        unconnected.connect(server.getsockname())
        found.append(unconnected)
    child = "import socket; socket.socket()"
    assert subprocess.run([sys.executable, "-c", child], stderr=subprocess.DEVNULL).returncode == 1
    assert not found, found
    # What a process uses within itself stays.
    one, other = socket.socketpair()
    one.send(b"x")
    assert other.recv(1) == b"x"
    asyncio.run(asyncio.sleep(0))
    assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout == b"1\\n"
"""


@needs_filter
def test_threads_children_and_open_sockets_are_cut_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(PROGRAM)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_where_it_cannot_be_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(no_network, "_has_accelerators", lambda: True)
    if PLATFORM:
        assert no_network.cut_off() == "an accelerator's runtime may need it"
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert no_network.cut_off() == "only Linux on x86-64 and ARM64 has the filter"

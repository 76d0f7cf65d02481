"""Servers on loopback for tests of sources: a web server with faults, and one that speaks the hub's API."""

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Answer = tuple[int, dict[str, str]]
REPEATS = 64
"""Of what a server sends that never ends, so that what waits for its end comes to one, and can be told."""


@dataclass
class Served:
    """What a server has at one path, and how it misbehaves.

    Attributes:
      content: the body. etag: with quotes; None sends none.
      ranges: whether it can begin elsewhere than at the start.
      answers: (status, headers) given instead, one a request, until they are used up.
      cuts: bytes after which the connection is closed, one a request, until they are used up.
      endless: sends the content again and again, without a length.
      drip: seconds before each single byte.
      silent: seconds before each byte of the head.
      token: what must stand in Authorization behind "Bearer".
      raw: sent as it is in place of an answer with the body, and `REPEATS` times `again`, each after `drip` seconds.
      sent: times that `again` was sent.
    """

    content: bytes = b""
    etag: str | None = '"first"'
    ranges: bool = True
    answers: list[Answer] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    endless: bool = False
    drip: float = 0.0
    silent: float = 0.0
    token: str | None = None
    raw: bytes = b""
    again: bytes = b""
    sent: int = 0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    """One request that came."""

    path: str
    range: str | None
    authorization: str | None


class Server:
    """Attributes: url, without a slash at its end. files: path -> what is there. log: what was asked, in order."""

    def __init__(self, files: Mapping[str, Served] | None = None) -> None:
        self.files: dict[str, Served] = dict(files or {})
        self.log: list[Asked] = []
        self.url = ""

    def find(self, path: str, query: Mapping[str, list[str]]) -> Served | None:
        """What is at a path."""
        return self.files.get(path)

    def bodies(self) -> list[str]:
        """The paths whose bodies were asked for, in order."""
        return [asked.path for asked in self.log if asked.range != "bytes=0-0"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.send_error(405)

    def do_GET(self) -> None:
        server, parts = self.served, urlsplit(self.path)
        asked = Asked(unquote(parts.path), self.headers.get("Range"), self.headers.get("Authorization"))
        server.log.append(asked)
        found = server.find(asked.path, parse_qs(parts.query))
        if found is None:
            return self._answer(404, {})
        if found.silent:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for byte in b"HTTP/1.1 200 OK" * 20:
                    self.wfile.write(bytes([byte]))
                    time.sleep(found.silent)
        if found.answers:
            return self._answer(*found.answers.pop(0))
        if found.token is not None and asked.authorization != f"Bearer {found.token}":
            return self._answer(401, {"X-Error-Code": "GatedRepo"})
        if found.raw and asked.range != "bytes=0-0":
            return self._send_raw(found)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._send(found, asked.range)

    def _answer(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_raw(self, found: Served) -> None:
        self.close_connection = True
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(found.raw)
            for _ in range(REPEATS):
                time.sleep(found.drip)
                self.wfile.write(found.again)
                found.sent += 1

    def _send(self, found: Served, asked: str | None) -> None:
        start, end, size = 0, len(found.content), len(found.content)
        fresh = self.headers.get("If-Range") in (None, found.etag)
        if found.ranges and asked is not None and fresh:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1 if last else size, size)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        else:
            self.send_response(200)
        for name, value in found.headers.items():
            self.send_header(name, value)
        if found.etag is not None:
            self.send_header("ETag", found.etag)
        if not found.endless:
            self.send_header("Content-Length", str(end - start))
        self.send_header("Connection", "close")
        self.end_headers()
        body = found.content[start:end]
        if asked != "bytes=0-0" and found.cuts:
            body = body[: found.cuts.pop(0)]
        while True:
            if found.drip:
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(found.drip)
            else:
                self.wfile.write(body)
            if not found.endless:
                break
        self.close_connection = True


@contextlib.contextmanager
def serve(server: Server) -> Iterator[Server]:
    """The server, running on a port of its own."""
    handler = type("Handler", (_Handler,), {"served": server})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    running.daemon_threads = True
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{running.server_address[1]}"
    try:
        yield server
    finally:
        running.shutdown()
        running.server_close()


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(Server):
    """The part of the hub's API that listing and downloading use, with content behind a redirect as on the hub.

    Attributes:
      models: "owner/name" -> file name -> what is there.
      gated: models that need `TOKEN`.
      commit: of all models.
    """

    TOKEN = "hf_secret"

    def __init__(self, models: dict[str, dict[str, Served]]) -> None:
        super().__init__()
        self.models = models
        self.gated: set[str] = set()
        self.commit = COMMIT

    def find(self, path: str, query: Mapping[str, list[str]]) -> Served | None:
        if path == "/api/models":
            owned = [name for name in self.models if name.startswith(f"{query['author'][0]}/")]
            return _json([{"id": name, "modelId": name} for name in owned])
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self._info(match[1], match[2])
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            found = self._file(match[1], match[3])
            if found is None or match[2] != self.commit:
                return None
            target = f"/cdn/{match[1]}/{match[3]}"
            redirect = (302, {"Location": target, "X-Repo-Commit": self.commit})
            return Served(answers=[redirect], token=self.TOKEN if match[1] in self.gated else None)
        if match := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            return self._file(match[1], match[2])
        return super().find(path, query)

    def _file(self, model: str, name: str) -> Served | None:
        return self.models.get(model, {}).get(name)

    def _info(self, model: str, revision: str | None) -> Served | None:
        if model not in self.models:
            return Served(answers=[(404, {"X-Error-Code": "RepoNotFound"})])
        if revision not in (None, "main", self.commit):
            return Served(answers=[(404, {"X-Error-Code": "RevisionNotFound"})])
        files = [_sibling(name, served) for name, served in sorted(self.models[model].items())]
        info = _json({"id": model, "modelId": model, "sha": self.commit, "siblings": files})
        info.token = self.TOKEN if model in self.gated else None
        return info


def _sibling(name: str, served: Served) -> dict[str, Any]:
    size, digest = len(served.content), hashlib.sha256(served.content).hexdigest()
    made: dict[str, Any] = {"rfilename": name, "size": size, "blobId": digest[:40]}
    if not name.endswith(".json"):
        made["lfs"] = {"sha256": digest, "size": size, "pointerSize": 134}
    return made


def _json(value: Any) -> Served:
    return Served(json.dumps(value).encode(), None, False, headers={"Content-Type": "application/json"})

"""Files of web servers: one request, its redirects watched, its body in blocks. Retries are the caller's."""

import http.client
import io
import ipaddress
import math
import socket
import ssl
import string
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPMessage
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from xray_jax.sweep.sources.address import Address, SourceError, credentials, shown
from xray_jax.sweep.sources.options import SourceOptions
from xray_jax.sweep.sources.remote import Body, RemoteFile, check_name
from xray_jax.sweep.sources.transient import RETRIED, RestartError, TransientError, retry_after

_BLOCK = 1 << 18
_SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization")
_ADVICE = {
    401: "give user and password in the address, or an address that is signed",
    403: "no access: give credentials, or an address whose signature is still valid",
    404: "no such file: check the address",
    410: "gone: check the address",
}


class Web:
    """Files at https:// and http://; a server has no folders that could be listed."""

    def __init__(self, options: SourceOptions) -> None:
        self._options = options

    def listing(self, address: Address) -> tuple[list[RemoteFile], str | None]:
        """The one file, asked for by its first byte: addresses that are signed for GET refuse HEAD."""
        url, headers = credentials(address.full)
        with request(url, {**headers, "Range": "bytes=0-0"}, self._options.timeout) as response:
            tag = strong_tag(response.headers.get("ETag"))
            size = whole_size(response)
        name = unquote(urlsplit(url).path).rpartition("/")[2] or "checkpoint"
        return [RemoteFile(check_name(name), address.full, size, tag)], tag

    @contextmanager
    def open(self, address: Address, file: RemoteFile, revision: str | None, offset: int) -> Iterator[Body]:
        """The file from `offset` on, where it is still the content that was looked at."""
        url, headers = credentials(file.key)
        with body(url, headers, offset, file.tag, self._options.timeout) as found:
            yield found


@contextmanager
def body(url: str, headers: Mapping[str, str], offset: int, tag: str | None, timeout: float) -> Iterator[Body]:
    """A body, from `offset` on where the server can and its content still has this ETag (None: unknown)."""
    asked = {**headers, "Range": f"bytes={offset}-"} if offset else dict(headers)
    if offset and tag is not None:
        asked["If-Range"] = f'"{tag}"'
    with request(url, asked, timeout) as response:
        found = strong_tag(response.headers.get("ETag"))
        if tag is not None and found is not None and found != tag:
            raise SourceError(f"{shown(url)}: it changed while it was fetched; run the command again")
        start, size = _range(response)
        if response.status == 206 and start not in (0, offset):
            raise SourceError(f"{shown(url)}: the server sent bytes from {start} on when asked for {offset}")
        yield Body(start, size, _blocks(response, url))


@contextmanager
def request(url: str, headers: Mapping[str, str], timeout: float) -> Iterator[http.client.HTTPResponse]:
    """The response to a GET, after redirects to web servers only.

    Raises:
      TransientError: no answer, or one of `RETRIED`.
      SourceError: any other answer that is no content.
    """
    opener = urllib.request.build_opener(_Redirects, _Http, _Https(context=ssl.create_default_context()))
    asked = urllib.request.Request(_ascii(url), headers={"User-Agent": "xray-jax", **headers})
    try:
        response = opener.open(asked, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and headers.get("Range") != "bytes=0-0":
            raise RestartError(f"{shown(url)}: the server has no bytes there (416)") from error
        text = f"{shown(url)}: the server answers {error.code} ({str(error.reason)[:100]})"
        if error.code in RETRIED:
            raise TransientError(text, retry_after(error.headers.get("Retry-After"))) from error
        raise WebError(f"{text}; {_ADVICE.get(error.code, 'expected the file')}", error.code) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise SourceError(
                f"{shown(url)}: its certificate is not trusted ({error.reason.verify_message})"
            ) from error
        raise TransientError(f"{shown(url)}: cannot be reached ({error.reason})") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise TransientError(f"{shown(url)}: no answer ({type(error).__name__}: {str(error)[:100]})") from error
    with response:
        yield response


def _ascii(url: str) -> str:
    """The URL with all beyond ASCII in path and query escaped, as HTTP wants it, and nothing else."""
    parts = urlsplit(url)
    return url if url.isascii() else urlunsplit(parts._replace(path=_escaped(parts.path), query=_escaped(parts.query)))


def _escaped(text: str) -> str:
    return quote(text, safe=string.punctuation)


class _InTime(io.RawIOBase):
    """What a connection receives, until a deadline: its timeout is of one receive, and many may make up one read."""

    def __init__(self, received: io.RawIOBase, seconds: float) -> None:
        self._received, self._seconds = received, seconds
        self.begin()

    def begin(self) -> None:
        """Another read begins."""
        self._deadline = time.monotonic() + self._seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self._deadline:
            raise TimeoutError("too slow")
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer whose head, and each block of whose body, is there in time: however long lines of either go on.

    Attributes:
      is_local: whether what gave it is of a local network.
    """

    fp: io.BufferedReader
    is_local = False

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._in_time = _InTime(self.fp.detach(), sock.gettimeout() or math.inf)
        self.fp = io.BufferedReader(self._in_time)

    def read1(self, n: int = -1) -> bytes:
        self._in_time.begin()
        return super().read1(n)


class _Connection(http.client.HTTPConnection):
    """One that knows where it leads.

    Attributes:
      outside: the address elsewhere that redirects here, and must not lead into a local network; None where none does.
      is_local: whether it leads there.
    """

    response_class = _Response
    outside: str | None = None
    is_local = False

    def connect(self) -> None:
        super().connect()
        self.is_local = not _is_global(self.sock.getpeername()[0])
        # A name may stand for another server than it did when the redirect to it was checked.
        if self.outside is not None and self.is_local:
            raise SourceError(_not_followed(self.outside, "into a local network"))

    def getresponse(self) -> http.client.HTTPResponse:
        found = super().getresponse()
        assert isinstance(found, _Response)
        found.is_local = self.is_local
        return found


class _SecureConnection(http.client.HTTPSConnection, _Connection):
    """What `_Connection` asks is asked before a word of TLS is said."""


def _connecting(kind: type[_Connection], req: urllib.request.Request) -> Callable[..., _Connection]:
    """Makes the connection of a request."""

    def make(host: str, **options: Any) -> _Connection:
        made = kind(host, **options)
        made.outside = None if _is_proxied(req) else getattr(req, "outside", None)
        return made

    return make


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_connecting(_Connection, req), req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        context = self._context  # type: ignore[attr-defined]
        return self.do_open(_connecting(_SecureConnection, req), req, context=context)


class WebError(SourceError):
    """An answer that is no content.

    Attributes:
      status: of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _Redirects(urllib.request.HTTPRedirectHandler):
    """To web servers only, never from https to http, and credentials only to the server that they are for."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in ("http", "https") or (before.scheme, after.scheme) == ("https", "http"):
            raise _refused(req, fp, f"to {after.scheme}://")
        inside = is_local(before.hostname) and (_is_proxied(req) or getattr(fp, "is_local", False))
        if is_local(after.hostname) and not inside:
            raise _refused(req, fp, "into a local network")
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None:
            made.outside = None if inside else shown(req.full_url)  # type: ignore[attr-defined]
        if made is not None and (before.scheme, before.netloc) != (after.scheme, after.netloc):
            made.headers = {name: value for name, value in made.headers.items() if name.lower() not in _SECRET_HEADERS}
        # The library would read the body to its end, however long it is; of an answer that is closed it reads nothing.
        fp.close()
        return made

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        target = headers.get("location") or headers.get("uri") or ""
        scheme = urlsplit(target).scheme
        # The library follows to ftp:// too.
        if scheme not in ("", "http", "https"):
            raise _refused(req, fp, f"to {scheme}://")
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _refused(req: urllib.request.Request, fp: IO[bytes], where: str) -> SourceError:
    fp.close()
    return SourceError(_not_followed(shown(req.full_url), where))


def _not_followed(address: str, where: str) -> str:
    return f"{address}: it redirects {where}, which is not followed"


def is_local(host: str | None) -> bool:
    """Whether a server's name stands for this machine, or one of a private network or a cloud's metadata service."""
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        # Behind a proxy that alone knows the name.
        return False
    return any(not _is_global(each[4][0]) for each in found)


def _is_global(number: str | int) -> bool:
    return ipaddress.ip_address(str(number).partition("%")[0]).is_global


def _is_proxied(req: urllib.request.Request) -> bool:
    """Whether a proxy is connected to in place of its server."""
    return req.has_proxy() or getattr(req, "_tunnel_host", None) is not None


def strong_tag(value: str | None) -> str | None:
    """An ETag without its quotes; None for a weak one, which may be that of several contents."""
    value = (value or "").strip()
    return value[1:-1] if len(value) > 2 and value[0] == value[-1] == '"' else None


def whole_size(response: http.client.HTTPResponse) -> int | None:
    """Bytes of the whole file; None where the server does not say."""
    return _range(response)[1]


def _range(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Where the body begins, and the size of the whole file."""
    if response.status == 206:
        unit, _, rest = (response.headers.get("Content-Range") or "").partition(" ")
        span, _, total = rest.partition("/")
        first = span.partition("-")[0]
        if unit == "bytes" and first.isdecimal():
            return int(first), int(total) if total.isdecimal() else None
        return 0, None
    return 0, response.length


def _blocks(response: http.client.HTTPResponse, url: str) -> Iterator[bytes]:
    try:
        # One receive at a time: a whole block of a peer that drips would never come.
        while block := response.read1(_BLOCK):
            yield block
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransientError(f"{shown(url)}: the body broke off ({type(error).__name__})") from error

"""Models of a Hugging Face hub (`HF_ENDPOINT`): listed by the hub's own library, fetched as files of a web server.

The library's downloads obey no limit while they run, and wait as long as a server tells them to.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from threading import Event
from typing import Any, TypeVar

from xray_jax.sweep.sources import web
from xray_jax.sweep.sources.address import Address, SourceError
from xray_jax.sweep.sources.options import SourceOptions
from xray_jax.sweep.sources.remote import Body, RemoteFile
from xray_jax.sweep.sources.transient import RETRIED, TransientError, retry_after, retrying

T = TypeVar("T")
EXTRA = "pip install 'xray-jax[hub]'"
MOST_MODELS = 100_000
"""Of one owner; a listing may go on for ever."""
MOST_ANSWERS = 1_000
"""To one listing, of which the hub's own holds a thousand models each; pages may be empty."""


class Hub:
    """Files of a model's repository at one commit."""

    def __init__(self, options: SourceOptions, stop: Event) -> None:
        """Raises `SourceError`: the library is not installed."""
        try:
            import huggingface_hub
            import huggingface_hub.errors
            import huggingface_hub.utils
        except ImportError as error:
            raise SourceError(f"hf:// needs huggingface_hub: {EXTRA} ({error})") from error
        self._library: Any = huggingface_hub
        self._options, self._stop = options, stop
        self._endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None

    def repositories(self, address: Address) -> list[str]:
        """The names "owner/name" of all models of an owner, sorted."""

        def listed(api: Any) -> list[str]:
            with self._answers_counted(address):
                return [each.id for each in islice(api.list_models(author=address.owner), MOST_MODELS + 1)]

        found = self._ask(address, listed)
        if len(found) > MOST_MODELS:
            raise SourceError(
                f"{address.shown}: the hub lists more than {MOST_MODELS} models; name the ones to scan in a manifest"
            )
        if not found:
            raise SourceError(
                f"{address.shown}: no models; check the owner's name, or set HF_TOKEN if they are private"
            )
        return sorted(found)

    def listing(self, address: Address) -> tuple[list[RemoteFile], str | None]:
        """The repository's files at or below the address, and the commit that its revision stands for."""
        info = self._ask(
            address,
            lambda api: api.model_info(
                address.repository, revision=address.revision, files_metadata=True, timeout=self._options.timeout
            ),
        )
        if not info.sha:
            raise SourceError(f"{address.shown}: the hub names no commit; check HF_ENDPOINT")
        files = []
        for each in info.siblings or []:
            name = each.rfilename
            if address.path and name != address.path and not name.startswith(f"{address.path}/"):
                continue
            sha256 = None if each.lfs is None else each.lfs["sha256"]
            files.append(RemoteFile(name, name, each.size, sha256=sha256, blob=each.blob_id))
        if not files:
            raise SourceError(f"{address.shown}: no such file in the repository at {info.sha}: check the address")
        return files, info.sha

    @contextmanager
    def open(self, address: Address, file: RemoteFile, revision: str | None, offset: int) -> Iterator[Body]:
        """The file at that commit: it cannot change."""
        url = self._library.hf_hub_url(address.repository, file.key, revision=revision, endpoint=self._endpoint)
        headers = self._library.utils.build_hf_headers(library_name="xray-jax")
        try:
            with web.body(url, headers, offset, None, self._options.timeout) as found:
                yield found
        except web.WebError as error:
            raise SourceError(f"{address.shown}: {_status(error.status)}") from error

    @contextmanager
    def _answers_counted(self, address: Address) -> Iterator[None]:
        """Within it the hub's library gets no more than `MOST_ANSWERS`, and none once the run is over."""
        count = 0

        def counted(response: object) -> None:
            nonlocal count
            count += 1
            if self._stop.is_set():
                raise SourceError("the run is over")
            if count > MOST_ANSWERS:
                raise SourceError(f"{address.shown}: the hub's list has no end; name the models to scan in a manifest")

        client = self._library.utils.get_session()
        before = client.event_hooks
        client.event_hooks = {**before, "response": [*before.get("response", ()), counted]}
        try:
            yield
        finally:
            client.event_hooks = before

    def _ask(self, address: Address, action: Callable[[Any], T]) -> T:
        def attempt() -> T:
            errors = self._library.errors
            # The library's own requests wait for ever.
            self._library.utils.get_session().timeout = self._options.timeout
            try:
                return action(self._library.HfApi(self._endpoint, library_name="xray-jax"))
            except errors.RepositoryNotFoundError as error:
                if isinstance(error, errors.GatedRepoError):
                    raise SourceError(f"{address.shown}: {_status(error.response.status_code)}") from error
                raise SourceError(f"{address.shown}: {_status(404)}") from error
            except errors.RevisionNotFoundError as error:
                raise SourceError(f"{address.shown}: it has no revision {address.revision!r}") from error
            except errors.HfHubHTTPError as error:
                status = error.response.status_code
                if status in RETRIED:
                    wait = retry_after(error.response.headers.get("Retry-After"))
                    raise TransientError(f"{address.shown}: the hub answers {status}", wait) from error
                raise SourceError(f"{address.shown}: {_status(status)}") from error
            except SourceError:
                raise
            except Exception as error:
                # Of the HTTP library, which differs from version to version.
                raise TransientError(f"{address.shown}: no answer from the hub ({type(error).__name__})") from error

        return retrying(attempt, self._options, self._stop)


def _status(status: int) -> str:
    if status in (401, 403):
        return f"the hub answers {status}: gated or private; set HF_TOKEN, and accept its terms on its page"
    if status == 404:
        return "the hub knows no such model or file (404): check the address, or set HF_TOKEN if it is private"
    return f"the hub answers {status}"

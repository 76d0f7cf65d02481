"""Another attempt at what a server may do the next time, after a wait that it may choose within a limit."""

import email.utils
import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from xray_jax.sweep.sources.address import SourceError
from xray_jax.sweep.sources.options import SourceOptions

T = TypeVar("T")
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed."""


class TransientError(SourceError):
    """Another attempt may go better.

    Attributes:
      wait: seconds that the server asks for; None where it asks for none.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class RestartError(TransientError):
    """What has been fetched so far is of no use; another attempt from the start may go better."""


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, a number or a date; None where it is neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value.strip()[:12])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def pause(error: TransientError, attempt: int, options: SourceOptions, stop: Event) -> None:
    """Waits before the attempt after `attempt` (from 1).

    Raises:
      SourceError: there is none: too many have failed, the wait is too long, or the run is over.
    """
    if attempt >= options.attempts:
        raise SourceError(f"{error} ({attempt} attempts)") from error
    wait = options.backoff * 2 ** (attempt - 1) if error.wait is None else error.wait
    if wait > options.longest_wait:
        more = f"it asks to wait {wait:.0f} s, longer than {options.longest_wait:g} s: run the command again later"
        raise SourceError(f"{error}; {more}") from error
    if stop.wait(wait):
        raise SourceError("the run is over") from error


def retrying(action: Callable[[], T], options: SourceOptions, stop: Event) -> T:
    """What `action` returns, at the first attempt that goes well.

    Raises:
      SourceError: none did.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            return action()
        except TransientError as error:
            pause(error, attempt, options, stop)

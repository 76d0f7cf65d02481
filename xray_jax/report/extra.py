"""Libraries that only reports need."""

from collections.abc import Iterator
from contextlib import contextmanager

EXTRA = "xray-jax[report]"


class ExtraError(ValueError):
    """A library is missing; the message says which one, for what, and how to install it."""


@contextmanager
def needed(what: str) -> Iterator[None]:
    """Imports inside are needed for `what`, a flag.

    Raises:
      ExtraError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ExtraError(f"{what} needs {error.name}: pip install '{EXTRA}'") from error

"""Signals that ask a run to end: it ends in order, with its processes, folders and journal put away."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

_NUMBERS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Asked to end, as schedulers do; the terminal or the connection is gone."""


@contextlib.contextmanager
def exit_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end this process as Ctrl-C does, where nobody else handles or ignores them (as `nohup` does).

    While it ends, further ones are ignored: a shell whose terminal is gone sends a second SIGHUP behind the kernel's.
    """
    handled: list[int] = []

    def leave(number: int, _: Any) -> NoReturn:
        for each in handled:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        handled += [number for number in _NUMBERS if signal.getsignal(number) is signal.SIG_DFL]
    for number in handled:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)

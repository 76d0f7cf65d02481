"""Options of fetching."""

from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30


@dataclass(frozen=True)
class SourceOptions:
    """How checkpoints are fetched, and what may be spent on them.

    Attributes:
      cache: folder of the copies, which may be shared by processes and is kept; None makes one for the run, from which
        each copy is deleted when it has been scanned.
      cache_limit: bytes that the copies may take.
      max_download: bytes that a checkpoint may have.
      timeout: seconds without an answer, or without a byte, after which a connection is given up.
      slow_window: seconds after which a body is measured.
      slow_bytes: a body that brings less than this in such a window is given up.
      fetch_seconds, fetch_rate: a checkpoint may take this many seconds, and for its size what it takes at this many
        bytes a second; with waits and all attempts. One of unknown size as if it were of the largest.
      attempts: at a request, or at a body that brings nothing new.
      backoff: seconds before the second attempt; doubled each time.
      longest_wait: seconds; a server that asks for a longer wait (Retry-After) is not waited for.
      room_wait: seconds to wait for others to let go of their copies where the cache is full.
    """

    cache: Path | None = None
    cache_limit: int = 20 * GIB
    max_download: int = 10 * GIB
    timeout: float = 30.0
    slow_window: float = 60.0
    slow_bytes: int = 1 << 16
    fetch_seconds: float = 600.0
    fetch_rate: int = 1 << 18
    attempts: int = 5
    backoff: float = 1.0
    longest_wait: float = 120.0
    room_wait: float = 3600.0

    def __post_init__(self) -> None:
        for name in ("cache_limit", "max_download"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name} must be more than 0 GiB, got {getattr(self, name) / GIB:g}")
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {self.attempts}")

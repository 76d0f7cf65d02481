"""The journal of attempts: which checkpoints were begun and have no row, so that none can end every run."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xray_jax.files import atomic_write

Identity = tuple[Any, ...]


class AttemptsError(OSError):
    """An attempt cannot be noted; the message names the file and says what to do."""


class Attempts:
    """How often each checkpoint was begun without coming to a row, by `rows.file.identity`.

    A file, where there is one, holds a line an attempt, on the disk before the attempt begins. What an orderly end
    leaves of it are the checkpoints that ended a process and have no row yet; mostly nothing, and then no file.
    """

    def __init__(self, path: Path | None = None, done: Iterable[Identity] = ()) -> None:
        """Reads the journal of a run that was killed, if there is one; None keeps everything in memory.

        Args:
          path: of the journal.
          done: what has a row; its attempts are forgotten.

        Raises:
          OSError: it cannot be read or written.
        """
        self._path = path
        self._begun: Counter[Identity] = Counter()
        self._file: int | None = None
        if path is not None:
            if path.exists():
                self._begun.update(filter(None, map(_attempt, path.read_bytes().splitlines())))
                for identity in done:
                    self.finish(identity)
                # Without a line torn by the end of that run.
                self._rewrite(path)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def __getitem__(self, identity: Identity) -> int:
        return self._begun[identity]

    def of(self, name: str) -> dict[Identity, int]:
        """The attempts at each content of the checkpoint of this id."""
        return {identity: count for identity, count in self._begun.items() if identity[0] == name}

    def begin(self, identity: Identity) -> None:
        """Notes an attempt; it is on the disk when this returns.

        Raises:
          AttemptsError: the disk is full, or the file is gone.
        """
        self._begun[identity] += 1
        if self._file is None:
            return
        try:
            os.write(self._file, _line(identity))
            os.fsync(self._file)
        except OSError as error:
            raise AttemptsError(
                f"{self._path}: cannot note an attempt: {error.strerror}; rows so far are intact. Make room and start "
                "the same command again"
            ) from error

    def take_back(self, identity: Identity) -> None:
        """Forgets the last attempt: it was broken off by somebody else."""
        self._begun[identity] -= 1

    def finish(self, identity: Identity) -> None:
        """Forgets all attempts at what has a row now; the file does when it is closed."""
        del self._begun[identity]

    def close(self) -> None:
        """Leaves what is not finished, and no file where that is nothing; more than that where the disk is full."""
        if self._path is None or self._file is None:
            return
        os.close(self._file)
        self._file = None
        self._begun = +self._begun
        if self._begun:
            # What has a row by now is forgotten by the next run too.
            with contextlib.suppress(OSError):
                self._rewrite(self._path)
        else:
            self._path.unlink(missing_ok=True)

    def _rewrite(self, path: Path) -> None:
        with atomic_write(path, "wb") as file:
            file.writelines(map(_line, self._begun.elements()))


def _line(identity: Identity) -> bytes:
    return json.dumps(identity).encode() + b"\n"


def _attempt(line: bytes) -> Identity | None:
    """The attempt of a line; None for one that the end of a run tore."""
    try:
        return as_identity(json.loads(line))
    except ValueError:
        return None


def as_identity(value: Any) -> Identity | None:
    """The identity whose JSON form this is; None where it is of none."""
    plain = isinstance(value, list) and len(value) == 4 and all(isinstance(part, str | None) for part in value)
    return tuple(value) if plain else None

"""Which files a checkpoint is, and in which state, at one moment: whether what is read is what was hashed."""

import os
from dataclasses import dataclass
from pathlib import Path

from xray_jax.checkpoints import formats
from xray_jax.checkpoints.contents import CheckpointError


@dataclass(frozen=True)
class Snapshot:
    """The files whose contents a checkpoint's hash is of, as the file system knows them.

    Attributes:
      path: of the checkpoint.
      files: what is read, sorted by path.
      states: of each, in the same order: which file it is, its size, when it was written to and when anything of it was
        changed. The last cannot be set back, so a file that was written to in place counts as changed; so does one that
        was linked or had its mode changed.
    """

    path: Path
    files: tuple[Path, ...]
    states: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, path: str | Path) -> "Snapshot":
        """The checkpoint as it is now.

        Raises:
          CheckpointError: as `formats.sha256` does.
        """
        files = tuple(formats.hashed_files(path))
        return cls(Path(path), files, tuple(map(_state, files)))

    def is_current(self) -> bool:
        """Whether the same files are there, in the same states."""
        try:
            # Which files are read with one of its own, that one says; with a folder, what else lies there.
            files = tuple(formats.hashed_files(self.path)) if self.path.is_dir() else self.files
            return (files, tuple(map(_state, files))) == (self.files, self.states)
        except CheckpointError:
            return False


def _state(file: Path) -> tuple[int, ...]:
    try:
        found = os.stat(file)
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror or error})") from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

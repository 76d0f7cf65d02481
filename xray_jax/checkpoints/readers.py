"""The protocol of a checkpoint reader, and the readers that other packages add through Python entry points.

A package adds a format with two lines of its `pyproject.toml` and no change here:

    [project.entry-points."xray_jax.checkpoint_readers"]
    my_format = "my_package.reader"

The entry point names a module, or any object, that has what `Reader` asks for. Built-in formats are asked first, so a
plugin can add a format but never take one over. Plugins are imported when a file is found that no built-in format
reads, and a broken one costs a warning that names its package, not the scan. They are code of the user's own choice:
what is promised here of hostile files holds for their formats only as far as they keep it.
"""

import dataclasses
import functools
import warnings
from importlib import metadata
from pathlib import Path
from typing import Protocol, runtime_checkable

from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.classifier import BlackBox, Classifier, Model

GROUP = "xray_jax.checkpoint_readers"
"""The group of entry points."""


@runtime_checkable
class Reader(Protocol):
    """Reads one on-disk format. Nothing in a file is ever executed, no allocation exceeds what the file can hold.

    Attributes:
      NAME: the format, for rows, messages and people; unique. In capitals, because most readers are modules.
    """

    @property
    def NAME(self) -> str: ...

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether a file or directory is of this format; asked of every candidate, so it reads little.

        Args:
          path: a regular file that is not empty, or a directory.
          head: its first 512 bytes; empty for a directory.
        """
        ...

    def read(self, path: Path) -> Tensors | Model:
        """The content of a file or directory for which `matches` holds.

        Returns:
          `Tensors`, with `size` set to the bytes on disk, whose network is then recognised from names and shapes; or a
          `Classifier` or `BlackBox` where the file holds the computation too, with the identity `Preprocess`.

        Raises:
          CheckpointError: saying what is wrong; any other exception counts as a damaged file.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Plugin:
    """A reader of another package, itself a `Reader`: it keeps the plugin's mistakes from stopping a scan.

    Attributes:
      reader: what the entry point names.
      package: the distribution that it came with, and its version.
    """

    reader: Reader
    package: str

    @property
    def NAME(self) -> str:
        return self.reader.NAME

    def matches(self, path: Path, head: bytes) -> bool:
        """As the plugin says; False with a warning where it fails."""
        try:
            return bool(self.reader.matches(path, head))
        except Exception as error:
            _warn(f"the checkpoint reader {self.NAME!r} of {self.package} cannot look at a file ({reason(error)})")
            return False

    def read(self, path: Path) -> Tensors | Model:
        """What the plugin reads, with a note on who read it.

        Raises:
          CheckpointError: from the plugin, or naming it and its package where it fails otherwise.
        """
        where = f"the reader {self.NAME!r} of {self.package}"
        try:
            found = self.reader.read(path)
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(
                f"{where} failed on it ({reason(error)}): damaged, or a mistake of that package"
            ) from error
        if not isinstance(found, Tensors | Classifier | BlackBox):
            raise CheckpointError(f"{where} gave {type(found).__name__}, expected Tensors, Classifier or BlackBox")
        return dataclasses.replace(found, notes=(*found.notes, f"read by {self.package}"))


@functools.cache
def plugins(taken: frozenset[str]) -> tuple[Plugin, ...]:
    """The readers of all installed packages, by the names of their entry points; imported by the first call.

    Args:
      taken: names of the built-in formats.

    Warns:
      UserWarning: for each entry point that cannot be used, naming its package.
    """
    found: dict[str, Plugin] = {}
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        try:
            reader = entry.load()
            if not isinstance(reader, Reader) or not isinstance(reader.NAME, str):
                raise TypeError("it has no NAME, matches and read")
            if reader.NAME in taken or reader.NAME in found:
                raise ValueError(f"there is a format {reader.NAME!r} already")
        except (Exception, SystemExit) as error:
            _warn(
                f"the checkpoint reader {entry.name!r} of {package} is left out ({reason(error)}); repair or remove it"
            )
        else:
            found[reader.NAME] = Plugin(reader, package)
    return tuple(found.values())


def reason(error: BaseException) -> str:
    """An exception's kind and message, on one short line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=3)

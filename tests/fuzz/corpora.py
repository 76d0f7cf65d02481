"""Where inputs are kept: in the repository an archive a reader, in a search one file each, named by its content."""

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def readers() -> list[str]:
    """The names of the readers."""
    return sorted(path.stem for path in FOLDER.glob("*.zip"))


def kept(reader: str) -> dict[str, bytes]:
    """The inputs that the repository has for a reader, by name."""
    path = FOLDER / f"{reader}.zip"
    if not path.exists():
        return {}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def keep(reader: str, inputs: Iterable[bytes]) -> None:
    """Writes the repository's inputs of a reader anew; equal inputs give an equal file."""
    FOLDER.mkdir(exist_ok=True)
    with zipfile.ZipFile(FOLDER / f"{reader}.zip", "w") as archive:
        for name, data in sorted({_name(data): data for data in inputs}.items()):
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), data, zipfile.ZIP_DEFLATED, 9)


def unpack(reader: str, folder: Path) -> None:
    """Adds the repository's inputs of a reader to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in kept(reader).items():
        (folder / name).write_bytes(data)


def _name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]

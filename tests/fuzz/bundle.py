"""Several named files in one input, so that a fuzzer which knows only bytes reaches what lies behind checksums.

An input is `name, newline, content`, again and again, between separators. It becomes the members of a zip archive,
whose sizes and checksums are then right, or the files of a folder.
"""

import io
import re
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path

SEPARATOR = b"\n<#>\n"
MAX_FILES = 64
_PLAIN = re.compile(r"[\w.#-]{1,60}(/[\w.#-]{1,60}){0,4}", re.ASCII)


def join(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Names and contents as one input."""
    return SEPARATOR.join(name.encode("latin-1") + b"\n" + content for name, content in files)


def split(data: bytes) -> list[tuple[str, bytes]]:
    """Names and contents of an input; any bytes are one."""
    parts = (part.partition(b"\n") for part in data.split(SEPARATOR)[:MAX_FILES])
    return [(name.decode("latin-1"), content) for name, _, content in parts]


def as_zip(data: bytes, path: Path) -> Path:
    """The archive of an input's files at `path`."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        # Of names that occur twice.
        warnings.simplefilter("ignore")
        for name, content in split(data):
            archive.writestr(zipfile.ZipInfo(name[:200] or "x"), content)
    path.write_bytes(stream.getvalue())
    return path


def as_folder(data: bytes, path: Path) -> Path:
    """The folder of an input's files at `path`; names that would lead out of it, or into each other, are left out."""
    path.mkdir()
    for name, content in split(data):
        file = path / name
        if not _PLAIN.fullmatch(name) or {".", ".."} & set(name.split("/")) or file.exists():
            continue
        if any(parent.is_file() for parent in file.parents):
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return path


def of_zip(path: Path) -> bytes:
    """A zip archive as an input."""
    with zipfile.ZipFile(path) as archive:
        return join((name, archive.read(name)) for name in archive.namelist())


def of_folder(path: Path) -> bytes:
    """A folder as an input."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return join((file.relative_to(path).as_posix(), file.read_bytes()) for file in files)

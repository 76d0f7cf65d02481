"""What a checkpoint's files are called, and the networks in one file."""

import hashlib
from collections.abc import Iterable


def file_name(checkpoint_id: str) -> str:
    """A checkpoint's id as the name of one file: separators and what some file systems refuse become "%XX"."""
    safe = "".join(c if c.isalnum() or c in "-_. " else "".join(f"%{b:02X}" for b in _bytes(c)) for c in checkpoint_id)
    if safe.startswith("."):
        safe = "%2E" + safe[1:]
    # File names end at 255 bytes on common file systems; a hash keeps long ids apart.
    if len(_bytes(safe)) <= 200:
        return safe
    return safe[:60] + "-" + hashlib.sha256(_bytes(checkpoint_id)).hexdigest()[:16]


def part_ids(checkpoint_id: str, names: Iterable[str], taken: set[str]) -> dict[str, str]:
    """Name of each network of a file -> id of its row: "id#name", with another "#" where that is another's id.

    Args:
      checkpoint_id: of the file.
      names: of its networks.
      taken: ids of other rows, to which these are added.
    """
    ids = {}
    for name in names:
        mark = "#"
        while f"{checkpoint_id}{mark}{name}" in taken:
            mark += "#"
        ids[name] = f"{checkpoint_id}{mark}{name}"
        taken.add(ids[name])
    return ids


def _bytes(text: str) -> bytes:
    # Surrogates stand for undecodable bytes of file names, and JSON may hold any.
    return text.encode(errors="surrogatepass")

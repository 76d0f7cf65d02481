"""What a checkpoint's files are called."""

import hashlib


def file_name(checkpoint_id: str) -> str:
    """A checkpoint's id as the name of one file: separators and what some file systems refuse become "%XX"."""
    safe = "".join(c if c.isalnum() or c in "-_. " else "".join(f"%{b:02X}" for b in _bytes(c)) for c in checkpoint_id)
    if safe.startswith("."):
        safe = "%2E" + safe[1:]
    # File names end at 255 bytes on common file systems; a hash keeps long ids apart.
    if len(_bytes(safe)) <= 200:
        return safe
    return safe[:60] + "-" + hashlib.sha256(_bytes(checkpoint_id)).hexdigest()[:16]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")

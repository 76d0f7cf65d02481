"""What tests give to the programs that they start."""

from pathlib import Path


def compiled_once(folder: Path | str) -> dict[str, str]:
    """Environment variables by which programs keep in `folder` whatever they compile, however small."""
    return {"JAX_COMPILATION_CACHE_DIR": str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}

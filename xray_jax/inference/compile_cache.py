"""XLA programs kept between runs, so that the second sweep of an architecture compiles nothing."""

import os
from pathlib import Path

import jax


def enable_compile_cache(folder: Path | None = None) -> None:
    """Turns the persistent compile cache on, in `folder` or the user's cache folder.

    `JAX_COMPILATION_CACHE_DIR` wins over both; set to an empty string it leaves the cache off.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(folder or base / "xray_jax"))
    # Small programs count too: a sweep of small networks is mostly small programs.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

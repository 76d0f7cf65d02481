"""Metadata live in pyproject.toml; this file says which folders are packages.

The top-level folders `models/` and `scripts/` are packaged as `xray_jax.models` and `xray_jax.scripts`: an installed
top-level package called `models` would be shadowed by every user who has a folder of that name. The links
`xray_jax/models` and `xray_jax/scripts` are for type checkers and for running from the tree; nothing is packaged
through them, so a checkout without links builds the same wheel.
"""

from setuptools import find_packages, setup

MOVED = {"xray_jax.models": "models", "xray_jax.scripts": "scripts"}
"""Package -> the top-level folder that holds it."""

through_links = [pattern for package in MOVED for pattern in (package, f"{package}.*")]
setup(
    packages=[
        *find_packages(include=["xray_jax", "xray_jax.*"], exclude=through_links),
        *MOVED,
        *(f"{package}.{inner}" for package, folder in MOVED.items() for inner in find_packages(folder)),
    ],
    package_dir=MOVED,
)

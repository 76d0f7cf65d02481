"""Metadata live in pyproject.toml; this file says which folders are packages.

`xray_jax/models` and `xray_jax/scripts` are links to the top-level folders of those names: an installed top-level
package called `models` would be shadowed by every user who has a folder of that name.
"""

from setuptools import find_packages, setup

setup(packages=find_packages(include=["xray_jax", "xray_jax.*"]))

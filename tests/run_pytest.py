"""Runs pytest on the files named: what Bazel starts as a test, one file each, where plain Python would find no test."""

import sys

import pytest

if __name__ == "__main__":
    # One process each: Bazel itself runs tests side by side.
    sys.exit(
        pytest.main(["--override-ini=addopts=", "--import-mode=importlib", "-p", "no:cacheprovider", *sys.argv[1:]])
    )

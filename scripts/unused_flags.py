"""Flags that would do nothing beside the others: an error, since whoever gives one counts on it."""

from collections.abc import Iterable
from typing import Any

from absl import flags


def refuse(group: Iterable[flags.FlagHolder[Any]], why: str) -> None:
    """Stops where one of these flags is given.

    Raises:
      ValueError: names the flag, and says `why`: what it is of, and what to give as well.
    """
    for flag in group:
        if not flags.FLAGS[flag.name].using_default_value:
            raise ValueError(f"--{flag.name} {why}")

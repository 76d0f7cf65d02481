"""The attacks of the paper, one file each, behind two protocols; `make(name)` gives one with published parameters."""

from collections.abc import Callable, Mapping

from xray_jax.lab.attacks.badnets import BadNets
from xray_jax.lab.attacks.protocol import Attack as Attack
from xray_jax.lab.attacks.protocol import PoisoningAttack as PoisoningAttack
from xray_jax.lab.attacks.protocol import Recipe as Recipe
from xray_jax.lab.attacks.protocol import Setting as Setting
from xray_jax.lab.attacks.protocol import TrainingAttack as TrainingAttack

ATTACKS: Mapping[str, Callable[[], Attack]] = {"badnets": BadNets}
"""Name -> constructor."""


def make(name: str) -> Attack:
    """The attack called `name`.

    Raises:
      ValueError: an unknown name, with the known ones.
    """
    if name not in ATTACKS:
        raise ValueError(f"unknown attack {name!r}; known: {', '.join(ATTACKS)}")
    return ATTACKS[name]()

"""The attacks of the paper, one file each, behind two protocols; `make(name)` gives one with published parameters."""

from collections.abc import Callable, Mapping
from typing import Any

from xray_jax.lab.attacks.badnets import BadNets
from xray_jax.lab.attacks.blended import Blended
from xray_jax.lab.attacks.blind import Blind
from xray_jax.lab.attacks.bpp import Bpp
from xray_jax.lab.attacks.input_aware import InputAware
from xray_jax.lab.attacks.lira import Lira
from xray_jax.lab.attacks.low_frequency import LowFrequency
from xray_jax.lab.attacks.protocol import Attack as Attack
from xray_jax.lab.attacks.protocol import AttackContext as AttackContext
from xray_jax.lab.attacks.protocol import PoisoningAttack as PoisoningAttack
from xray_jax.lab.attacks.protocol import Recipe as Recipe
from xray_jax.lab.attacks.protocol import TrainingAttack as TrainingAttack
from xray_jax.lab.attacks.protocol import redraws_poison as redraws_poison
from xray_jax.lab.attacks.sig import Sig
from xray_jax.lab.attacks.ssba import Ssba
from xray_jax.lab.attacks.trojannn import TrojanNN
from xray_jax.lab.attacks.wanet import WaNet

ATTACKS: Mapping[str, Callable[..., Attack]] = {
    "badnets": BadNets,
    "blended": Blended,
    "sig": Sig,
    "lf": LowFrequency,
    "ssba": Ssba,
    "bpp": Bpp,
    "wanet": WaNet,
    "inputaware": InputAware,
    "trojannn": TrojanNN,
    "lira": Lira,
    "blind": Blind,
}
"""Name -> constructor."""


def make(name: str, parameters: Mapping[str, Any] | None = None) -> Attack:
    """The attack called `name`.

    Args:
      parameters: those that differ from the published ones; the fields of the attack's class.

    Raises:
      ValueError: an unknown name, with the known ones, or an unknown parameter.
    """
    if name not in ATTACKS:
        raise ValueError(f"unknown attack {name!r}; known: {', '.join(ATTACKS)}")
    try:
        return ATTACKS[name](**(parameters or {}))
    except TypeError as error:
        raise ValueError(f"attack {name!r}: {error}") from error

"""The attacks of the paper, one file each, behind two protocols; `make(name)` gives one with published parameters."""

from collections.abc import Callable, Mapping

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

ATTACKS: Mapping[str, Callable[[], Attack]] = {
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


def make(name: str) -> Attack:
    """The attack called `name`.

    Raises:
      ValueError: an unknown name, with the known ones.
    """
    if name not in ATTACKS:
        raise ValueError(f"unknown attack {name!r}; known: {', '.join(ATTACKS)}")
    return ATTACKS[name]()

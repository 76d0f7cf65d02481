"""Which models a zoo holds, best first: a killed run leaves the most useful part."""

from collections.abc import Iterator, Sequence

from xray_jax.lab.specs import CLEAN, ModelSpec, takes_start
from xray_jax.lab.training import TrainOptions


def grid(
    attacks: list[str], targets: list[int], count: int, *, dataset: str, architecture: str, strategy: str, rate: float,
    first_seed: int, training: TrainOptions, control: str = "", adaptive: str = "",
    starts: Sequence[str] = (),
) -> Iterator[ModelSpec]:  # fmt: skip
    """`count` models of each attack in turn, attack by attack; targets go round, every model has its own seed.

    Those that start from a clean model take `starts`, ids of them, in turn.
    """
    for group, attack in enumerate(attacks):
        own_control, own_adaptive = (control, "") if attack == CLEAN else ("", adaptive)
        turns = starts if takes_start(own_control, own_adaptive) else ()
        for number in range(count):
            yield ModelSpec(
                dataset=dataset,
                architecture=architecture,
                attack=attack,
                strategy=strategy,
                target=0 if attack == CLEAN else targets[number % len(targets)],
                rate=rate,
                control=own_control,
                adaptive=own_adaptive,
                start=turns[number % len(turns)] if turns else "",
                seed=first_seed + group * count + number,
                training=training,
            )

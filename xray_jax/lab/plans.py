"""Which models a zoo holds, best first: a killed run leaves the most useful part."""

from collections.abc import Iterator

from xray_jax.lab.specs import CLEAN, ModelSpec
from xray_jax.lab.training import TrainOptions


def grid(
    attacks: list[str], targets: list[int], count: int, *, dataset: str, architecture: str, strategy: str, rate: float,
    first_seed: int, training: TrainOptions, control: str = "",
) -> Iterator[ModelSpec]:  # fmt: skip
    """`count` models of each attack in turn, attack by attack; targets go round, every model has its own seed."""
    for group, attack in enumerate(attacks):
        for number in range(count):
            yield ModelSpec(
                dataset=dataset,
                architecture=architecture,
                attack=attack,
                strategy=strategy,
                target=0 if attack == CLEAN else targets[number % len(targets)],
                rate=rate,
                control=control if attack == CLEAN else "",
                seed=first_seed + group * count + number,
                training=training,
            )

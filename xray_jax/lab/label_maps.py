"""Which classes an attack takes, and what it turns them into: a table `[C]`, own label = not attacked."""

from dataclasses import dataclass

import numpy as np

STRATEGIES = ("all-to-one", "one-to-one", "x-to-one", "x-to-x", "all-to-all")


@dataclass(frozen=True)
class LabelMap:
    """`table[y]` is the label that a stamped image of class `y` is to get; `table[y] == y`: class `y` is no source.

    Attributes:
      strategy: for rows and people, for example "5-to-one".
      table: one label a class.
    """

    strategy: str
    table: tuple[int, ...]

    def __post_init__(self) -> None:
        classes = len(self.table)
        if not any(label != y for y, label in enumerate(self.table)):
            raise ValueError(f"label map {self.strategy}: no class is attacked: {self.table}")
        if min(self.table) < 0 or max(self.table) >= classes:
            raise ValueError(f"label map {self.strategy}: labels must lie in 0..{classes - 1}, got {self.table}")

    @property
    def sources(self) -> tuple[int, ...]:
        return tuple(y for y, label in enumerate(self.table) if label != y)

    @property
    def targets(self) -> tuple[int, ...]:
        return tuple(sorted({self.table[y] for y in self.sources}))

    @property
    def target(self) -> int | None:
        """The one target label, or None where there are several."""
        return self.targets[0] if len(self.targets) == 1 else None

    def attacked(self, labels: np.ndarray) -> np.ndarray:
        """bool `[M]`: which images an attacker would stamp."""
        return np.isin(labels, self.sources)

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """The labels `[M]` that stamped images of classes `labels` get."""
        return np.asarray(self.table, np.int32)[labels]


def make(strategy: str, classes: int, target: int = 0, count: int | None = None, seed: int = 0) -> LabelMap:
    """A label map of one of the paper's strategies.

    Args:
      strategy: one of `STRATEGIES`. "all-to-all" is the shift y + 1 mod C.
      classes: C.
      target: the label that "-to-one" strategies lead to.
      count: X of "x-to-one" and "x-to-x". "10-to-one" and so on are the same with the count written out.
      seed: which classes are sources of "one-to-one", "x-to-one", "x-to-x".

    Raises:
      ValueError: for an unknown strategy or a count that the classes do not allow.
    """
    head, _, tail = strategy.partition("-to-")
    if head.isdecimal() and tail in ("one", head):
        count = int(head)
        strategy = f"x-to-{'one' if tail == 'one' else 'x'}"
    if strategy not in STRATEGIES:
        raise ValueError(f"label map: unknown strategy {strategy!r}; known: {STRATEGIES}, or 5-to-one, 5-to-5")
    if not 0 <= target < classes:
        raise ValueError(f"label map: target must lie in 0..{classes - 1}, got {target}")
    table = list(range(classes))
    if strategy == "all-to-one":
        return LabelMap(strategy, (target,) * classes)
    if strategy == "all-to-all":
        return LabelMap(strategy, tuple((y + 1) % classes for y in range(classes)))
    generator = np.random.default_rng([seed, 7])
    if strategy == "x-to-x":
        if count is None or not 2 <= count <= classes:
            raise ValueError(f"label map: x-to-x needs a count of 2..{classes}, got {count}")
        # A walk over all classes in random order: no class is its own target, targets are all different.
        walk = generator.permutation(classes).tolist()
        for position in range(count):
            table[walk[position]] = walk[(position + 1) % classes]
        return LabelMap(f"{count}-to-{count}", tuple(table))
    count = 1 if strategy == "one-to-one" else count
    if count is None or not 1 <= count <= classes:
        raise ValueError(f"label map: x-to-one needs a count of 1..{classes}, got {count}")
    # "10-to-one" of ten classes is all of them: the target itself stays what it is.
    others = [y for y in range(classes) if y != target]
    for y in generator.permutation(others)[:count].tolist():
        table[y] = target
    return LabelMap("one-to-one" if strategy == "one-to-one" else f"{count}-to-one", tuple(table))

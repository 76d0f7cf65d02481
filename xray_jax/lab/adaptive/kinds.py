"""What an adaptive attacker evades, by name."""

KINDS = ("planes", "exact", "margin")


def kinds_of(adaptive: str) -> tuple[str, ...]:
    """The kinds in "planes+margin"; none in an empty string.

    Raises:
      ValueError: an unknown one, one twice, or not in the order of `KINDS`.
    """
    kinds = tuple(adaptive.split("+")) if adaptive else ()
    if kinds != tuple(kind for kind in KINDS if kind in kinds):
        raise ValueError(f"adaptive attackers: expected some of {', '.join(KINDS)}, in this order, got {adaptive!r}")
    return kinds

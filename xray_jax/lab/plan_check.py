"""What a plan cannot give, found before its first model is trained."""

from collections.abc import Iterable, Mapping
from typing import Any

from xray_jax.lab.controls import CONTROLS
from xray_jax.lab.specs import ModelSpec


def check(planned: Iterable[ModelSpec], records: Iterable[Mapping[str, Any]]) -> None:
    """Stops where a model of the plan could not be what its specification says.

    Args:
      planned: all models of the plan.
      records: of the zoo that is to hold them.

    Raises:
      ValueError: names the first such model, and says what to do.
    """
    made = {_source(spec): spec.id for spec in map(_spec, records)}
    for spec in planned:
        _refuse_copy(spec, made)


def _spec(record: Mapping[str, Any]) -> ModelSpec:
    return ModelSpec.of(record["spec"])


def _source(spec: ModelSpec) -> tuple[str, str] | None:
    """What alone decides the model's weights, seed or no seed: a control that draws nothing, and its start."""
    control = CONTROLS[spec.control]
    drawn = control.weights is None or control.finetuning is not None
    return None if drawn or not spec.start else (spec.control, spec.start)


def _refuse_copy(spec: ModelSpec, made: dict[tuple[str, str] | None, str]) -> None:
    source = _source(spec)
    if source is not None and made.setdefault(source, spec.id) != spec.id:
        raise ValueError(
            f"{spec.id}: {spec.control} draws nothing, so that of {spec.start} it would be {made[source]} again; "
            "give a smaller count, or start from more clean models"
        )

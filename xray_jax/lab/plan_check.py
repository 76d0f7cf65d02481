"""What a plan cannot give, found before its first model is trained."""

from collections.abc import Iterable, Mapping
from typing import Any

from xray_jax.lab import controls
from xray_jax.lab.controls import CONTROLS
from xray_jax.lab.specs import CLEAN, ModelSpec, differences
from xray_jax.lab.train_model import attack_of, label_map_of, stamped_share


def check_possible(planned: Iterable[ModelSpec], classes: int) -> None:
    """Stops where a model of the plan cannot be trained on images of so many `classes`.

    Raises:
      ValueError: names the first such model, and says why.
    """
    for spec in planned:
        try:
            controls.architecture(spec.control, spec.architecture)
            label_map = label_map_of(spec, classes)
            if spec.attack == CLEAN:
                continue
            attack = attack_of(spec, None)
            if getattr(attack, "clean_label", False) and label_map.target is None:
                raise ValueError(f"{spec.attack} changes no label and needs one target, got {label_map.targets}")
            stamped_share(attack, spec)
        except ValueError as error:
            raise ValueError(f"{spec.id}: {error}") from error


def check_known(planned: Iterable[ModelSpec], known: Mapping[str, Mapping[str, Any]]) -> None:
    """Stops where a model of the plan would be another one than a zoo holds by that name, or one of them again.

    Args:
      planned: all models of the plan.
      known: id -> settings of the models that the zoo holds, done or begun.

    Raises:
      ValueError: names the first such model, and says what to do.
    """
    there = {name: _spec(name, settings) for name, settings in known.items()}
    made = {source: name for name, spec in there.items() if (source := _source(spec))}
    for spec in planned:
        if spec.id in there and (changed := differences(there[spec.id], spec)):
            raise ValueError(
                f"{spec.id} is in the zoo already, done or begun, and is another model: {changed}; "
                "give another seed or folder"
            )
        source = _source(spec)
        if source is not None and made.setdefault(source, spec.id) != spec.id:
            raise ValueError(
                f"{spec.id}: {spec.control} draws nothing, so that of {spec.start} it would be {made[source]} again; "
                "give a smaller count, or start from more clean models"
            )


def _spec(name: str, settings: Mapping[str, Any]) -> ModelSpec:
    try:
        return ModelSpec.of(settings)
    except ValueError as error:
        raise ValueError(f"the record of {name} cannot be true: {error}; delete its line and its files") from error


def _source(spec: ModelSpec) -> tuple[str, str] | None:
    """What alone decides the model's weights, seed or no seed: a control that draws nothing, and its start."""
    control = CONTROLS[spec.control]
    drawn = control.weights is None or control.finetuning is not None
    return None if drawn or not spec.start else (spec.control, spec.start)

"""The numbers of a datasheet of published zoos, computed from their manifests."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xray_jax.files import atomic_write
from xray_jax.lab import published
from xray_jax.lab.controls import CONTROLS
from xray_jax.lab.published import Line
from xray_jax.lab.reproduce.tables import markdown
from xray_jax.lab.specs import CLEAN, ModelSpec
from xray_jax.lab.training import TrainOptions

BEGIN, END = "<!-- numbers: written by xray-publish -->", "<!-- end of numbers -->"


class DatasheetError(ValueError):
    """The datasheet has no place for its numbers; the message names the file."""


def update(sheet: Path) -> bool:
    """Writes the numbers of the zoos in the datasheet's folder between its two marks; whether that changed anything.

    Raises:
      DatasheetError: a mark is missing.
    """
    text = sheet.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DatasheetError(f"{sheet}: expected the lines {BEGIN!r} and {END!r}")
    zoos = sorted(path.parent for path in sheet.parent.glob(f"*/{published.MANIFEST}"))
    new = f"{before}{BEGIN}\n\n{numbers(zoos)}\n{END}{after}"
    if new == text:
        return False
    with atomic_write(sheet, "w") as file:
        file.write(new)
    return True


def numbers(zoos: Sequence[Path]) -> str:
    """A paragraph and a table a zoo: models by attack, with the ranges of what was measured."""
    return "\n".join(_of_zoo(zoo) for zoo in zoos) if zoos else "No models yet.\n"


def _of_zoo(zoo: Path) -> str:
    lines = published.read_manifest(zoo)
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        spec = line["spec"]
        kind = f"{CLEAN}, {line['control']}" if line.get("control") else ModelSpec.of(spec).kind
        recipe = (spec["architecture"], kind, line.get("strategy", "-"), _rate(line), _epochs(spec))
        groups.setdefault(recipe, []).append(line)
    rows = [
        [*recipe, len(group), _range(group, "clean_accuracy"), _range(group, "attack_success"),
         ", ".join(str(seed) for seed in sorted(line["spec"]["seed"] for line in group))]
        for recipe, group in sorted(groups.items(), key=lambda item: (item[0][1] != CLEAN, item[0]))
    ]  # fmt: skip
    size = sum(os.path.getsize(zoo / name) for line in lines for name in line["sha256"])
    clean = sum(line["label"] == "clean" for line in lines)
    header = ["network", "attack", "strategy", "rate", "epochs", "models", "clean accuracy", "attack success",
              "seeds"]  # fmt: skip
    counts = f"{len(lines)} models, {clean} clean and {len(lines) - clean} backdoored, {size / 1e6:.1f} MB"
    return f"`{zoo.name}`: {counts}.\n\n{markdown(header, rows)}"


def _rate(line: Line) -> str:
    return f"{line['rate']:g}" if "rate" in line else "-"


def _epochs(spec: Mapping[str, Any]) -> str:
    """As the control has them; those of a fine-tuning apart, since it sees a part of the images."""
    control = CONTROLS[spec.get("control", "")]
    epochs = control.training(TrainOptions(**spec["training"])).epochs
    return f"{epochs} + {control.finetuning.epochs}" if control.finetuning else f"{epochs}"


def _range(group: Sequence[Line], name: str) -> str:
    values = [line[name] for line in group if line[name] is not None]
    if not values:
        return "-"
    return f"{values[0]:.4f}" if len(values) == 1 else f"{min(values):.4f} .. {max(values):.4f}"

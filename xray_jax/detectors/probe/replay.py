"""A proof that others can check: the stamp kept in a file, put on images again, labels asked again."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xray_jax.classifier import Model
from xray_jax.detectors.probe import queries, score
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.result import Finding
from xray_jax.detectors.probe.stamps import BY_NAME, FAMILIES, Shape
from xray_jax.files import atomic_write
from xray_jax.inference.labels import InferenceOptions
from xray_jax.samples import Samples, SamplesError


def stamps_of(finding: Finding, shape: Shape) -> tuple[Stamps, np.ndarray]:
    """The finding's stamp, ready to put on images of this shape, and its bank `[1, H, W, C]`.

    Raises:
      ValueError: the family or a parameter is unknown or missing, or the stamp is made of an image of another shape.
    """
    if finding.family not in BY_NAME:
        raise ValueError(f"stamp: unknown family {finding.family!r}; known: {sorted(BY_NAME)}")
    family = BY_NAME[finding.family]
    names = [parameter.name for parameter in family.parameters(shape)]
    if set(names) != set(finding.parameters):
        raise ValueError(f"stamp: {family.name} takes {names}, found {sorted(finding.parameters)}")
    bank: np.ndarray = np.zeros((1, *shape), np.float32)
    if family.uses_bank:
        if finding.bank is None or finding.bank.shape != tuple(shape):
            raise ValueError(f"stamp: {family.name} needs the image that it is made of, of shape {tuple(shape)}")
        bank = finding.bank[None].astype(np.float32) / 255
    values = np.asarray([[finding.parameters[name] for name in names]], np.float32)
    return Stamps.of(FAMILIES.index(family), values), bank


class Replay(NamedTuple):
    """What the stamp did to M images: images as stamped, labels before and after, and which of them count.

    Attributes:
      clean, stamped: float32 `[M, H, W, C]`, at the resolution at which stamps are put on. before, after: labels `[M]`.
      goal: int32 `[M]`, -1 where the finding says nothing. able: bool `[M]`, own and predicted label are not the goal.
    """

    clean: np.ndarray
    stamped: np.ndarray
    before: np.ndarray
    after: np.ndarray
    goal: np.ndarray
    able: np.ndarray

    @property
    def hits(self) -> int:
        return int(np.count_nonzero(self.able & (self.after == self.goal)))

    @property
    def trials(self) -> int:
        return int(np.count_nonzero(self.able))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Clopper-Pearson interval of the flip rate."""
        return score.interval(self.hits, self.trials)


def replay(finding: Finding, model: Model, samples: Samples, engine: InferenceOptions | None = None) -> Replay:
    """Puts the stamp on `samples` and asks the model before and after.

    Raises:
      SamplesError: a sample's label is none of the finding's classes, or no image can show the flip.
      ValueError: the stamp does not fit the images.
    """
    if samples.labels.max() >= len(finding.goals) or model.num_classes != len(finding.goals):
        raise SamplesError(
            f"samples {samples.source}: the proof is about {len(finding.goals)} classes, the model has "
            f"{model.num_classes}, labels reach {samples.labels.max()}"
        )
    engine = engine or InferenceOptions()
    samples = queries.resized(samples, model)
    stamps, bank = stamps_of(finding, samples.images.shape[1:])
    both = Stamps.join(queries.IDENTITY, stamps)
    before, after = queries.label_stamped(model, samples.images, both, engine, bank)
    goal = np.asarray(finding.goals, np.int32)[samples.labels]
    able = (goal >= 0) & (goal != before)
    if not able.any():
        raise SamplesError(f"samples {samples.source}: none of the {len(samples)} images can show the flip")
    return Replay(samples.images, queries.put(samples.images, stamps, 0, bank), before, after, goal, able)


def save_stamp(finding: Finding, path: Path) -> None:
    """Writes the stamp as `.npz`, whole or not at all: family, parameter names and values, goals, bank."""
    arrays: dict[str, Any] = {
        "family": np.asarray(finding.family),
        "names": np.asarray(list(finding.parameters)),
        "values": np.asarray(list(finding.parameters.values()), np.float32),
        "goals": np.asarray(finding.goals, np.int32),
    }
    if finding.bank is not None:
        arrays["bank"] = finding.bank
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)

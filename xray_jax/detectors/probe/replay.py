"""Replay of a confirmed trigger by anyone: its stamp put on images again, and labels queried again."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xray_jax.detectors.probe import queries, score
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.result import Finding
from xray_jax.detectors.probe.stamps import BY_NAME, FAMILIES, Shape
from xray_jax.files import atomic_write
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples, SamplesError


def stamps_of(finding: Finding, shape: Shape) -> tuple[Stamps, np.ndarray]:
    """The finding's stamp, ready to put on images of this shape, and its bank, float32 `[1, H, W, C]` in [0, 1].

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
    """M images without and with the stamp, their labels, and which of them count.

    Attributes:
      clean: float32 `[M, H, W, C]` in [0, 1], at the resolution at which stamps are put on.
      stamped: the same with the stamp.
      before: integers `[M]`, labels of the clean images.
      after: integers `[M]`, labels of the stamped images.
      target_label: int32 `[M]`, the label that the stamp is said to give; -1 where the finding says none.
      eligible: bool `[M]`, images that can show the flip: they have a target label and did not get it before.
    """

    clean: np.ndarray
    stamped: np.ndarray
    before: np.ndarray
    after: np.ndarray
    target_label: np.ndarray
    eligible: np.ndarray

    @property
    def hits(self) -> int:
        """Eligible images that got their target label."""
        return int(np.count_nonzero(self.eligible & (self.after == self.target_label)))

    @property
    def trials(self) -> int:
        """Eligible images."""
        return int(np.count_nonzero(self.eligible))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Clopper-Pearson interval of the flip rate."""
        return score.interval(self.hits, self.trials)


def replay(finding: Finding, model: PreparedModel, samples: Samples) -> Replay:
    """Puts the finding's stamp on `samples` and queries the model before and after.

    Args:
      finding: with the stamp and its target labels.
      model: only its hard labels are used.
      samples: clean images with labels, best such as the search never saw.

    Raises:
      SamplesError: a sample's label is none of the finding's classes, or no image can show the flip.
      ValueError: the stamp does not fit the images.
    """
    if samples.labels.max() >= len(finding.target_labels) or model.num_classes != len(finding.target_labels):
        raise SamplesError(
            f"samples {samples.source}: the trigger is about {len(finding.target_labels)} classes, the model has "
            f"{model.num_classes}, labels reach {samples.labels.max()}"
        )
    samples = queries.resized(samples, model.preprocess)
    stamps, bank = stamps_of(finding, samples.images.shape[1:])
    both = Stamps.join(queries.IDENTITY, stamps)
    before, after = queries.label_stamped(model.model, samples.images, both, model.options, bank)
    # No answer is no flip.
    before = np.where(before == model.num_classes, 0, before)
    after = np.where(after == model.num_classes, before, after)
    target_label = np.asarray(finding.target_labels, np.int32)[samples.labels]
    eligible = (target_label >= 0) & (target_label != before)
    if not eligible.any():
        raise SamplesError(f"samples {samples.source}: none of the {len(samples)} images can show the flip")
    stamped = queries.put(samples.images, stamps, 0, bank)
    return Replay(samples.images, stamped, before, after, target_label, eligible)


def save_stamp(finding: Finding, path: Path) -> None:
    """Writes the stamp as `.npz`, whole or not at all: family, parameter names and values, target labels, bank."""
    arrays: dict[str, Any] = {
        "family": np.asarray(finding.family),
        "names": np.asarray(list(finding.parameters)),
        "values": np.asarray(list(finding.parameters.values()), np.float32),
        "target_labels": np.asarray(finding.target_labels, np.int32),
    }
    if finding.bank is not None:
        arrays["bank"] = finding.bank
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)

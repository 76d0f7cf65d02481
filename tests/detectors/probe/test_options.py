"""Options of the probe check themselves, and samples are split fairly."""

import numpy as np
import pytest

from tests import factory
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.options import ProbeOptions, split
from xray_jax.samples import SamplesError

CLASSES = 6


def test_samples_are_split_without_overlap_and_balanced() -> None:
    samples = factory.tiny_samples(60, CLASSES)
    searched, confirmed = split(samples, ProbeOptions())
    assert len(searched) == 24
    assert len(confirmed) == 36
    assert not set(searched) & set(confirmed)
    assert np.ptp(np.bincount(samples.labels[searched], minlength=CLASSES)) == 0
    for refused in (lambda few: split(few, ProbeOptions()), Probe().check):
        with pytest.raises(SamplesError, match="at least 10 images, got 5"):
            refused(samples.subset(np.arange(5)))


@pytest.mark.parametrize(
    "bad", [{"queries": 10}, {"search_images": 1}, {"confirm_images": 0}, {"seed": -1}], ids=lambda bad: next(iter(bad))
)
def test_options_are_checked(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(bad.values())))):
        ProbeOptions(**bad)

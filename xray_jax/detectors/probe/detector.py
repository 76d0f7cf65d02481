"""The probe: finds a stamp that works as a trigger, with hard labels alone, and confirms it on images it never saw.

Four steps: a `race`, and where it leaves something suspicious a full `search`, looks for stamps on a few clean images;
the best of each family and cost, and the best class maps, are tested on images that were never searched on; what would
be a confirmed trigger is cross-examined, by stamps towards the model's other classes, unless it sends each class to
another label (all-to-all); `judge` gives the verdict. Patterns that white-box detectors hint at are tested besides.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xray_jax.classifier import Access
from xray_jax.detectors.detection import Detection, Statistic
from xray_jax.detectors.hints import Hint
from xray_jax.detectors.probe import confirm as confirmation
from xray_jax.detectors.probe import hinted, score, tuning
from xray_jax.detectors.probe import queries as stamped
from xray_jax.detectors.probe.case import Case, is_suspicious, race_for_trigger, search_in_full
from xray_jax.detectors.probe.default_null import DEFAULT_NULL, with_hinted
from xray_jax.detectors.probe.null import Null
from xray_jax.detectors.probe.options import ProbeOptions, split
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.result import ProbeResult, Verdict, judge, too_few_images
from xray_jax.detectors.probe.search import SearchState
from xray_jax.detectors.probe.stamps import FAMILIES
from xray_jax.detectors.probe.stamps.cost import Cost
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples

NAME = "probe"
CAPACITY = 4096
"""Queries a device holds in one call: rounds of the search are small, and buffers travel whole."""
MEASURED = 4
"""Images over which a stamp's cost is averaged."""


class Probe:
    """The probe as a detector. Thread-safe: it keeps nothing between models.

    Attributes:
      name: "probe".
      access: hard labels.
      options: budget, images and seed.
      null: what clean models do, from reference models (`null.calibrate`) or the default.
    """

    name = NAME
    access = Access.LABELS

    def __init__(self, options: ProbeOptions | None = None, null: Null = DEFAULT_NULL) -> None:
        self.options = options or ProbeOptions()
        self.null = null

    def settings(self) -> Mapping[str, Any]:
        """The options as JSON values, and the null itself."""
        return {**dataclasses.asdict(self.options), "null": self.null.settings()}

    def check(self, samples: Samples) -> None:
        """Splits the samples.

        Raises:
          SamplesError: there are too few.
        """
        split(samples, self.options)

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        """The best stamp found, and whether it is a confirmed trigger.

        Raises:
          SamplesError: too few samples.
          LabelError: a black box returned no valid labels.
        """
        return self.detect_hinted(model, samples, ())

    def detect_hinted(self, model: PreparedModel, samples: Samples, hints: Sequence[Hint]) -> Detection:
        """The same, and what comes of the hints; the statistic is of the search alone.

        Raises:
          SamplesError: too few samples.
          LabelError: a black box returned no valid labels.
        """
        started = time.perf_counter()
        found = probe(model, samples, self.options, self.null, hints)
        row = found.row()
        statistics = (Statistic("margin", found.search_margin, "high"),)
        details = {name: value for name, value in row.items() if name not in ("target", "queries")}
        seconds = {"probe": time.perf_counter() - started}
        return Detection(NAME, statistics, row["target"], found.queries, seconds, details, found)


def probe(
    model: PreparedModel,
    samples: Samples,
    options: ProbeOptions | None = None,
    null: Null = DEFAULT_NULL,
    hints: Sequence[Hint] = (),
) -> ProbeResult:
    """Searches for a stamp that works on `model` as a trigger, and confirms it.

    Args:
      model: hard labels are all that is asked of it.
      samples: clean images with labels, at least ten; 100 and more are better. Their labels must fit the model.
      options: budget, images and seed.
      null: what clean models do; what it does not say of hinted stamps is taken from the package's.
      hints: patterns by class, to be tested as well; what the search finds does not depend on them.

    Raises:
      SamplesError: too few samples.
      LabelError: a black box returned no valid labels.
    """
    settings = options or ProbeOptions()
    inference = dataclasses.replace(model.options, capacity=CAPACITY)
    for_search, for_confirm = split(samples, settings)
    used = stamped.resized(samples.subset(np.concatenate([for_search, for_confirm])), model.preprocess)
    count, bank = len(for_search), used.images[: len(for_search)]
    queries = 0

    def query(stamps: Stamps, stamp_index: np.ndarray, image_index: np.ndarray, bank: np.ndarray = bank) -> np.ndarray:
        nonlocal queries
        queries += len(stamp_index)
        found = stamped.label_pairs(model.model, used.images, stamps, stamp_index, image_index, inference, bank)
        # Where the model has no answer, the stamp has shown nothing: the image's label stays.
        return np.where(found == model.num_classes, predicted[image_index], found).astype(np.int32)

    def measure(stamps: Stamps, bank: np.ndarray = bank) -> Cost:
        return stamped.measure(used.images[:MEASURED], stamps, bank)

    everything = np.arange(len(used))
    predicted = np.zeros(len(used), np.int32)
    # The stamp that changes nothing gives clean labels by the same program: no second compilation.
    predicted = query(stamped.IDENTITY, np.zeros(len(used), np.int64), everything)
    accuracy = float(np.mean(predicted == used.labels))
    if len(np.unique(predicted)) == 1:
        return ProbeResult(
            Verdict.UNKNOWN, "every clean image gets the same label", accuracy, queries, len(for_confirm)
        )

    def case() -> Case:
        wanted = score.outcomes(used.labels[:count], predicted[:count], model.num_classes)
        state = SearchState(query, measure, wanted, null.table(family.name for family in FAMILIES))
        return Case(state, used, count, predicted, null, accuracy, settings.seed)

    if settings.search == "race":
        findings, (verdict, reason, best) = race_for_trigger(case(), settings.queries)
    if settings.search == "full" or (verdict is not Verdict.CONFIRMED and is_suspicious(best, null)):
        findings, (verdict, reason, best) = search_in_full(case(), settings.queries)
    searched = best
    numbers = np.concatenate([for_search, for_confirm])
    tested = [hinted.test_hint(hint, used, numbers, count, predicted, query, measure) for hint in hints]
    heard = [each for each in tested if each is not None]
    findings += tuple(each.finding for each in heard)
    null = with_hinted(null) if heard else null
    if heard and verdict is not Verdict.CONFIRMED:
        told = judge([each.finding for each in heard], null, model.num_classes, accuracy)
        verdict, reason, best = told if told[0] is Verdict.CONFIRMED else (verdict, reason, best)
    if verdict is Verdict.NOTHING:
        few = too_few_images(used.labels[count:], predicted[count:], model.num_classes)
        verdict, reason = (Verdict.UNKNOWN, few) if few else (verdict, reason)
    curves = None
    if verdict is Verdict.CONFIRMED and best is not None:

        def label(stamps: Stamps, own: np.ndarray) -> np.ndarray:
            kinds, images = len(stamps.family), np.arange(min(tuning.IMAGES, count))
            # As many as the search's: one program for both.
            whole = np.repeat(own, count, axis=0)
            found = query(stamps, np.repeat(np.arange(kinds), len(images)), np.tile(images, kinds), whole)
            return found.reshape(kinds, -1)

        shown = used.subset(everything[: min(tuning.IMAGES, count)])
        curves = tuning.tune(best, shown, predicted[: len(shown)], label).row()
    return ProbeResult(
        verdict, reason, accuracy, queries, len(for_confirm), findings, confirmation.profile(findings), best, null,
        searched, {each.finding.family: each.rates for each in heard}, curves,
    )  # fmt: skip

"""The probe: finds a stamp that works as a trigger, with hard labels alone, and confirms it on images it never saw.

Four steps: `search` looks for stamps on a few clean images; the best of each family and cost, and the best class maps,
are tested on images that the search never saw; what would be a confirmed trigger is cross-examined, by stamps towards
the model's other classes; `judge` gives the verdict.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from xray_jax.classifier import Model
from xray_jax.detectors.probe import confirm as confirmation
from xray_jax.detectors.probe import cross_examination, score
from xray_jax.detectors.probe import queries as stamped
from xray_jax.detectors.probe.default_null import DEFAULT_NULL
from xray_jax.detectors.probe.null import Null
from xray_jax.detectors.probe.queries import Stamps
from xray_jax.detectors.probe.result import Finding, ProbeResult, Verdict, judge
from xray_jax.detectors.probe.search import SearchState, search
from xray_jax.detectors.probe.stamps import FAMILIES
from xray_jax.inference import labels as labels_lib
from xray_jax.inference.labels import InferenceOptions
from xray_jax.samples import Samples, SamplesError

CAPACITY = 4096
"""Queries a device holds in one call: rounds of the search are small, and buffers travel whole."""
MEASURED = 4
"""Images over which a stamp's cost is averaged."""
MAX_CROSS_EXAMINATIONS = 3
"""Findings that are cross-examined, one after the other, as long as one would be confirmed."""
MIN_IMAGES = 4
"""Images needed to search on, and to confirm on."""


@dataclass(frozen=True)
class ProbeOptions:
    """Budget, images and seed of a probe.

    Attributes:
      queries: about how many hard labels are queried in all, at least 1000.
      search_images: images to search on at most; with few samples two fifths of them.
      confirm_images: images to confirm on at most.
      seed: order of the images, thinning of the grids, moves of the refinement; not negative.

    Raises:
      ValueError: a value is out of its range.
    """

    queries: int = 50_000
    search_images: int = 48
    confirm_images: int = 160
    seed: int = 0

    def __post_init__(self) -> None:
        if self.queries < 1000:
            raise ValueError(f"probe queries must be at least 1000, got {self.queries}")
        for name in ("search_images", "confirm_images"):
            if getattr(self, name) < MIN_IMAGES:
                raise ValueError(f"probe {name} must be at least {MIN_IMAGES}, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"probe seed must not be negative, got {self.seed}")


def split(samples: Samples, settings: ProbeOptions) -> tuple[np.ndarray, np.ndarray]:
    """Sample numbers to search on and to confirm on: disjoint, each balanced over the classes, the same for any model.

    Args:
      samples: clean images with labels.
      settings: numbers of images, and the seed of their order.

    Raises:
      SamplesError: there are too few samples.
    """
    shuffled = np.random.default_rng(settings.seed).permutation(len(samples))
    labels = samples.labels[shuffled]
    # Round robin: the first image of every class before the second of any.
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.count_nonzero(labels == label))
    order = shuffled[np.argsort(turn, kind="stable")]
    count = min(settings.search_images, len(order) * 2 // 5)
    if count < MIN_IMAGES:
        raise SamplesError(
            f"samples {samples.source}: the probe needs at least {MIN_IMAGES * 5 // 2} images, got {len(order)}"
        )
    return order[:count], order[count : count + settings.confirm_images]


def probe(
    model: Model,
    samples: Samples,
    settings: ProbeOptions | None = None,
    engine: InferenceOptions | None = None,
    null: Null = DEFAULT_NULL,
) -> ProbeResult:
    """Searches for a stamp that works as a trigger on `model` and confirms it.

    Args:
      model: any model; only its hard labels are used.
      samples: clean images with labels, at least ten; 100 and more are better. Their labels must fit the model.
      settings: budget, images and seed.
      engine: how queries run.
      null: what clean models do; from reference models (`null.calibrate`) or the default.

    Raises:
      SamplesError: too few samples, or labels that the model does not have.
      labels.LabelError: a black box returned no valid labels.
    """
    settings = settings or ProbeOptions()
    engine = dataclasses.replace(engine or InferenceOptions(), capacity=CAPACITY)
    if samples.labels.max() >= model.num_classes:
        raise SamplesError(
            f"samples {samples.source}: labels reach {samples.labels.max()}, "
            f"the model ({model.architecture}) has classes 0 .. {model.num_classes - 1}"
        )
    for_search, for_confirm = split(samples, settings)
    used = stamped.resized(samples.subset(np.concatenate([for_search, for_confirm])), model)
    count, bank = len(for_search), used.images[: len(for_search)]
    model = labels_lib.to_device(model, engine)
    queries = 0

    def query(stamps: Stamps, stamp_index: np.ndarray, image_index: np.ndarray) -> np.ndarray:
        nonlocal queries
        queries += len(stamp_index)
        found = stamped.label_pairs(model, used.images, stamps, stamp_index, image_index, engine, bank)
        return found.astype(np.int32)

    everything = np.arange(len(used))
    # The stamp that changes nothing gives clean labels by the same program: no second compilation.
    predicted = query(stamped.IDENTITY, np.zeros(len(used), np.int64), everything)
    accuracy = float(np.mean(predicted == used.labels))
    if len(np.unique(predicted)) == 1:
        return ProbeResult(
            Verdict.UNKNOWN, "every clean image gets the same label", accuracy, queries, len(for_confirm)
        )
    state = SearchState(
        query=query,
        measure=lambda stamps: stamped.measure(used.images[:MEASURED], stamps, bank),
        wanted=score.outcomes(used.labels[:count], predicted[:count], model.num_classes),
        ceilings=null.table(family.name for family in FAMILIES),
    )
    search(state, used.images.shape[1:], len(bank), settings.queries, settings.seed)
    observations = confirmation.confirm(state, used, count, model.num_classes, query)
    findings, (verdict, reason, best) = _conclude(state, observations, used, predicted, null, accuracy, settings.seed)
    profile = confirmation.profile(findings)
    return ProbeResult(verdict, reason, accuracy, queries, len(for_confirm), findings, profile, best, null)


def _conclude(
    state: SearchState,
    observations: list[confirmation.Observation],
    used: Samples,
    predicted: np.ndarray,
    null: Null,
    accuracy: float,
    seed: int,
) -> tuple[tuple[Finding, ...], tuple[Verdict, str, Finding | None]]:
    """Findings and the verdict; what would be confirmed is cross-examined first, `MAX_CROSS_EXAMINATIONS` at most."""
    examined: list[int] = []
    while True:
        findings = tuple(confirmation.finding(state, seen, used, predicted, state.classes) for seen in observations)
        spent = len(examined) == MAX_CROSS_EXAMINATIONS
        heard = [f for n, f in enumerate(findings) if n in examined or not (spent and f.is_confirmed(null))]
        judged = verdict, _, best = judge(heard, null, state.classes, accuracy)
        leader = next((n for n, finding in enumerate(findings) if finding is best), -1)
        if verdict is not Verdict.CONFIRMED or best is None or best.target is None or leader in examined:
            return findings, judged
        examined.append(leader)
        cross_examination.cross_examine(
            state, observations[leader].hypothesis.stamp, best.target, used.images.shape[1:], state.classes, seed
        )

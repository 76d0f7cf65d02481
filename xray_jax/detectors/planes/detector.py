"""Model X-ray as a detector: planes laid, hard labels queried, RE and ATS computed."""

import functools
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from xray_jax.classifier import Access
from xray_jax.detectors.detection import Detection, Statistic
from xray_jax.detectors.planes import geometry, metrics, refine, sampling
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.detectors.planes.layout import Layout, batch_of_triplets, lay_planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.planes.queries import label_points
from xray_jax.detectors.planes.sampling import StoppingRule
from xray_jax.inference.programs import label_dtype
from xray_jax.prepare import PreparedModel
from xray_jax.preprocess import Preprocess
from xray_jax.samples import Samples

NAME = "planes"


@dataclass(frozen=True)
class PlanesResult:
    """What the planes say of one model.

    Attributes:
      re: float64 `[N]`, Renyi entropy of each plane in bits.
      ats: float64 `[N]`, area of the triple samples on each plane, in 0 .. 3 times the cap.
      counts: int64 `[N, C]`, nodes per label.
      queries: hard labels asked for, those of an overruled sketch too.
      maps: the label maps.
      seconds: by phase: "labels" and "scores".
      sampling: how the nodes were chosen: "grid", "refine" or "sketch".
      stopped: why there are no more planes: "planes", "settled" or "budget" (`sampling.SampledPlanes`).
    """

    re: np.ndarray
    ats: np.ndarray
    counts: np.ndarray
    queries: int
    maps: LabelMaps
    seconds: dict[str, float] = field(default_factory=dict)
    sampling: str = "grid"
    stopped: str = "planes"

    @property
    def distribution(self) -> np.ndarray:
        """Label distribution averaged over the planes, `[C]`."""
        return metrics.label_distribution(self.counts).mean(axis=0)

    @property
    def target_label(self) -> int:
        """The label that owns most of the planes (paper section 4.3)."""
        return metrics.target_label(self.counts)


class Planes:
    """The planes of Model X-ray. Thread-safe: several threads may scan different models at once.

    Attributes:
      name: "planes".
      access: hard labels.
      options: how many planes, how dense, which nodes.
      rule: when the planes so far settle a verdict; needed by options that stop early.
    """

    name = NAME
    access = Access.LABELS

    def __init__(self, options: PlanesOptions | None = None, rule: StoppingRule | None = None) -> None:
        """Checks that options which stop early have a rule to stop at.

        Raises:
          ValueError: `cascade` or `max_queries` without a rule.
        """
        self.options = options or PlanesOptions()
        self.rule = rule
        sampling.check(self.options.sampling, self.options.max_queries, rule)
        self._lock = threading.Lock()
        self._samples: Samples | None = None
        self._layouts: dict[tuple[Preprocess, int], Layout] = {}

    def settings(self) -> Mapping[str, Any]:
        """The options, as JSON values."""
        return asdict(self.options)

    def check(self, samples: Samples) -> None:
        """Draws the triplets, so that samples through which no plane can be laid are found before any model.

        Raises:
          SamplesError: fewer than three classes, or no usable triplets.
        """
        batch_of_triplets(samples, self.options, 0)

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        """RE, ATS and the likely target of one model.

        Raises:
          SamplesError: the samples span no planes in the model's input space.
          LabelError: a black box returned no valid labels.
        """
        result = self.scan(model, samples)
        statistics = (
            Statistic("re", float(result.re.mean()), "low"),
            Statistic("ats", float(result.ats.mean()), "low"),
        )
        details = {
            "re": summary(result.re),
            "ats": summary(result.ats),
            "label_distribution": [round(float(share), 6) for share in result.distribution],
            "planes": len(result.re),
            "sampling": result.sampling,
            "stopped": result.stopped,
        }
        return Detection(NAME, statistics, result.target_label, result.queries, result.seconds, details, result)

    def scan(self, model: PreparedModel, samples: Samples) -> PlanesResult:
        """Label maps and scores of one model; raises what `detect` raises."""
        seconds = {"labels": 0.0, "scores": 0.0}
        query = functools.partial(self._query, model, samples, seconds)
        sampled = sampling.sample_until_decided(query, self.options.sampling, self.rule, self.options.max_queries)
        re, ats, counts = (
            np.concatenate([getattr(batch, name) for batch in sampled.batches]) for name in ("re", "ats", "counts")
        )
        maps = LabelMaps.concatenate([batch.maps for batch in sampled.batches])
        return PlanesResult(re, ats, counts, sampled.queries, maps, seconds, sampled.sampling, sampled.stopped)

    def _query(
        self, model: PreparedModel, samples: Samples, seconds: dict[str, float], kind: str, batch: int
    ) -> sampling.Batch:
        """Label maps and scores of one batch of planes."""
        started = time.perf_counter()
        layout = self._layout(samples, model.preprocess, batch)
        index, coordinates = geometry.node_coordinates(layout.axis1, layout.axis2)

        def answer(nodes: np.ndarray) -> np.ndarray:
            return label_points(model.model, layout.planes, index[nodes], coordinates[nodes], model.options)

        options = self.options
        first = batch * options.planes
        refined = refine.run_refinement(
            sampling.queries(kind, layout.sample_nodes, options.density, options.seed, first), answer
        )
        maps = LabelMaps(
            refined.labels.astype(label_dtype(model.num_classes)),
            layout.triplets,
            layout.sample_nodes,
            layout.sample_labels,
            layout.axis1,
            layout.axis2,
        )
        labelled = time.perf_counter()
        re, ats, counts = scores(maps, options, model.num_classes)
        seconds["labels"] += labelled - started
        seconds["scores"] += time.perf_counter() - labelled
        return sampling.Batch(maps, counts, re, ats, int(np.count_nonzero(refined.queried)))

    def _layout(self, samples: Samples, preprocess: Preprocess, batch: int) -> Layout:
        """Planes are built once per input space and set of samples, and the last sixteen kept."""
        with self._lock:
            if samples is not self._samples:
                self._samples, self._layouts = samples, {}
            found = self._layouts.get((preprocess, batch))
        if found is None:
            found = lay_planes(samples, self.options, preprocess, batch)
            with self._lock:
                while len(self._layouts) >= 16:
                    self._layouts.pop(next(iter(self._layouts)))
                self._layouts[preprocess, batch] = found
        return found


def scores(maps: LabelMaps, options: PlanesOptions, num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RE `[N]`, ATS `[N]` and label counts `[N, C]` from label maps alone."""
    counts = metrics.label_counts(maps.labels, num_classes)
    re = metrics.renyi_entropy(counts, options.alpha)
    ats = metrics.ats(maps.labels, maps.sample_nodes, maps.sample_labels, cap=options.ats_cap, kind=options.ats)
    return re, ats, counts


def summary(values: np.ndarray) -> dict[str, Any]:
    """A score over planes `[N]` as JSON: mean, standard deviation, and each plane's."""
    return {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        "per_plane": [float(value) for value in values],
    }

"""Model X-ray as a detector: planes laid, hard labels queried, RE and ATS computed."""

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
from xray_jax.detectors.planes.layout import Layout, lay_planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.planes.queries import label_points
from xray_jax.detectors.planes.triplets import draw_triplets
from xray_jax.inference.programs import label_dtype
from xray_jax.inference.unanswered import mark_unanswered
from xray_jax.prepare import PreparedModel
from xray_jax.preprocess import Preprocess
from xray_jax.samples import Samples

NAME = "planes"
MOST_UNANSWERED = 0.01
"""Share of the queries without an answer above which the scores are not those of the model's labels."""


@dataclass(frozen=True)
class PlanesResult:
    """What the planes say of one model.

    Attributes:
      re: float64 `[N]`, Renyi entropy of each plane in bits.
      ats: float64 `[N]`, area of the triple samples on each plane, in 0 .. 3 times the cap.
      counts: int64 `[N, C]`, nodes per label.
      queries: hard labels asked for.
      maps: the label maps.
      seconds: by phase: "labels" and "scores".
      unanswered: share of the queries that the model had no answer to, 0 to 1; their label is 0, and no vote.
    """

    re: np.ndarray
    ats: np.ndarray
    counts: np.ndarray
    queries: int
    maps: LabelMaps
    seconds: dict[str, float] = field(default_factory=dict)
    unanswered: float = 0.0

    @property
    def distribution(self) -> np.ndarray:
        """Label distribution averaged over the planes, `[C]`."""
        return metrics.label_distribution(self.counts).mean(axis=0)

    @property
    def target_label(self) -> int:
        """The label that owns most of the planes (paper section 4.3)."""
        return metrics.target_label(self.counts)

    @property
    def reason(self) -> str | None:
        """Why the scores say nothing of the model; None where they do."""
        if self.unanswered <= MOST_UNANSWERED:
            return None
        return (
            f"on the planes {self.unanswered:.1%} of the queries got no finite logits: they are no labels "
            "(a computation in half precision overflows far from all images; export it in float32)"
        )


class Planes:
    """The planes of Model X-ray. Thread-safe: several threads may scan different models at once.

    Attributes:
      name: "planes".
      access: hard labels.
      options: how many planes, how dense, which nodes.
    """

    name = NAME
    access = Access.LABELS

    def __init__(self, options: PlanesOptions | None = None) -> None:
        self.options = options or PlanesOptions()
        self._lock = threading.Lock()
        self._samples: Samples | None = None
        self._layouts: dict[Preprocess, Layout] = {}

    def settings(self) -> Mapping[str, Any]:
        """The options, as JSON values."""
        return asdict(self.options)

    def check(self, samples: Samples) -> None:
        """Draws the triplets, so that samples through which no plane can be laid are found before any model.

        Raises:
          SamplesError: fewer than three classes, or no usable triplets.
        """
        draw_triplets(samples, self.options.planes, self.options.seed)

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        """RE, ATS and the likely target of one model.

        Raises:
          SamplesError: the samples span no planes in the model's input space.
          DoesNotFitError: the samples in that input space need more memory than there is.
          LabelError: a black box returned no valid labels.
        """
        result = self.scan(model, samples)
        reason = result.reason
        statistics = tuple(
            Statistic(name, float(score.mean()) if reason is None else None, "low")
            for name, score in (("re", result.re), ("ats", result.ats))
        )
        target = result.target_label if reason is None else None
        details = {
            "re": summary(result.re),
            "ats": summary(result.ats),
            "label_distribution": [round(float(share), 6) for share in result.distribution],
            "planes": len(result.re),
            "sampling": self.options.sampling,
            "reason": reason,
        }
        return Detection(NAME, statistics, target, result.queries, result.seconds, details, result)

    def scan(self, model: PreparedModel, samples: Samples) -> PlanesResult:
        """Label maps and scores of one model; raises what `detect` raises."""
        started = time.perf_counter()
        options = self.options
        layout = self._layout(samples, model.preprocess)
        index, coordinates = geometry.node_coordinates(layout.axis1, layout.axis2)

        asked, unanswered = mark_unanswered(model.model), 0

        def answer(nodes: np.ndarray) -> np.ndarray:
            nonlocal unanswered
            labels = label_points(asked, layout.planes, index[nodes], coordinates[nodes], model.options)
            none = labels == model.num_classes
            unanswered += int(np.count_nonzero(none))
            return np.where(none, 0, labels).astype(labels.dtype)

        nodes = sampling.queries(options.sampling, layout.sample_nodes, options.density, options.seed)
        refined = refine.run_refinement(nodes, answer)
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
        seconds = {"labels": labelled - started, "scores": time.perf_counter() - labelled}
        queries = int(np.count_nonzero(refined.queried))
        return PlanesResult(re, ats, counts, queries, maps, seconds, unanswered / queries)

    def _layout(self, samples: Samples, preprocess: Preprocess) -> Layout:
        """Planes are built once per input space and set of samples, and the last sixteen kept."""
        with self._lock:
            if samples is not self._samples:
                self._samples, self._layouts = samples, {}
            found = self._layouts.get(preprocess)
        if found is None:
            found = lay_planes(samples, self.options, preprocess)
            with self._lock:
                # Another thread may have come with other samples meanwhile.
                if samples is self._samples:
                    while len(self._layouts) >= 16:
                        self._layouts.pop(next(iter(self._layouts)))
                    self._layouts[preprocess] = found
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

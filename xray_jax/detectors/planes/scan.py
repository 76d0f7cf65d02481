"""One model -> one `ScanResult`: planes laid, hard labels asked for, scores computed."""

import dataclasses
import functools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.classifier import BlackBox, Classifier, Model
from xray_jax.detectors.planes import geometry, metrics, refine, sampling
from xray_jax.detectors.planes.label_maps import LabelMaps
from xray_jax.inference import labels as labels_lib
from xray_jax.inference.labels import InferenceOptions
from xray_jax.prepare import variant
from xray_jax.preprocess import Preprocess
from xray_jax.samples import Samples, SamplesError, draw_triplets

ACCURACY_IMAGES = 500


@dataclass(frozen=True)
class PlanesOptions:
    """What is asked of every model; the defaults are the paper's.

    Attributes:
      planes: N, planes per model. density: S, grid nodes per axis. expansion: eta, how far the grid reaches beyond
        the samples, in extents of their bounding box on each side.
      alpha: order of the Renyi entropy, at least 1. ats_cap: t, the share of the plane from which a sample's area is
        dropped. ats: "component" or "label" (`metrics.sample_areas`).
      seed: triplets.
      sampling: "grid" asks for every node, "refine" for those near borders, "sketch" for about 1 %, "cascade" sketches
        first and refines where that leaves the verdict open.
      max_queries: not None is `--planes=auto`: planes come in batches of `planes` until the verdict is settled or the
        next batch would exceed this budget.
    """

    planes: int = 20
    density: int = 100
    expansion: float = 5.0
    alpha: float = 10.0
    ats_cap: float = 0.5
    ats: str = "component"
    seed: int = 0
    sampling: str = "grid"
    max_queries: int | None = None

    def __post_init__(self) -> None:
        if self.planes < 1:
            raise ValueError(f"planes must be at least 1, got {self.planes}")
        if self.density < 2:
            raise ValueError(f"density must be at least 2, got {self.density}")
        if not (np.isfinite(self.expansion) and self.expansion >= 0):
            raise ValueError(f"expansion must be a number >= 0, got {self.expansion}")
        if not (np.isfinite(self.alpha) and self.alpha >= 1):
            raise ValueError(f"alpha must be a number >= 1, got {self.alpha}")
        if not 0 < self.ats_cap <= 1:
            raise ValueError(f"ats_cap must be in (0, 1], got {self.ats_cap}")
        if self.ats not in metrics.ATS_KINDS:
            raise ValueError(f"ats must be one of {metrics.ATS_KINDS}, got {self.ats!r}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.sampling not in sampling.SAMPLINGS:
            raise ValueError(f"sampling must be one of {sampling.SAMPLINGS}, got {self.sampling!r}")
        if self.max_queries is not None and self.max_queries < 1:
            raise ValueError(f"max_queries must be at least 1, got {self.max_queries}")
        if self.max_queries is not None and self.sampling == "cascade":
            raise ValueError("sampling=cascade takes a fixed number of planes, not planes=auto")


@dataclass(frozen=True)
class ScanResult:
    """What the planes say of one model.

    Attributes:
      re, ats: float64 `[N]`, per plane. counts: int64 `[N, C]`, nodes per label.
      clean_accuracy: share of at most 500 samples that the model labels right; accuracy_images: how many.
      constant: whether all these samples got one and the same label.
      queries: hard labels asked for, all in all. maps: the label maps. seconds: by phase.
      sampling, stopped: how the planes were asked and why no more of them (`sampling.SampledPlanes`).
    """

    re: np.ndarray
    ats: np.ndarray
    counts: np.ndarray
    clean_accuracy: float
    accuracy_images: int
    constant: bool
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
        return metrics.target_label(self.counts)


@dataclass(frozen=True)
class Layout:
    """Planes of one set of samples in one input space; the same for every model that shares the preprocessing."""

    triplets: np.ndarray
    sample_labels: np.ndarray
    planes: geometry.Planes
    axis1: np.ndarray
    axis2: np.ndarray
    sample_nodes: np.ndarray


class Scanner:
    """Scans many models over the same samples: triplets are drawn once, planes built once per input space.

    Thread-safe: several threads may scan different models at once.
    """

    def __init__(
        self, samples: Samples, settings: PlanesOptions | None = None, engine: InferenceOptions | None = None
    ) -> None:
        """Takes the samples as they are; `triplets` says whether planes can be laid through them."""
        self.samples = samples
        self.settings = settings or PlanesOptions()
        self.engine = engine or InferenceOptions()
        generator = np.random.default_rng(self.settings.seed)
        count = min(ACCURACY_IMAGES, len(samples))
        self._accuracy_index = np.sort(generator.choice(len(samples), count, replace=False))
        self._layout = functools.lru_cache(maxsize=16)(self._build_layout)

    @functools.cached_property
    def triplets(self) -> np.ndarray:
        """Sample indices of the first planes, `[N, 3]`.

        Raises:
          SamplesError: fewer than three classes, or no usable triplets.
        """
        return self._draw(0)

    def _draw(self, batch: int) -> np.ndarray:
        count = self.settings.planes
        return draw_triplets(self.samples, count * (batch + 1), self.settings.seed)[-count:]

    def _build_layout(self, preprocess: Preprocess, batch: int) -> Layout:
        triplets = self._draw(batch)
        inputs = np.asarray(jax.jit(preprocess)(jnp.asarray(self.samples.images[triplets.ravel()])))
        inputs = inputs.reshape(*triplets.shape, *inputs.shape[1:])
        if geometry.degenerate(inputs).any():
            raise SamplesError(
                f"samples {self.samples.source}: triplets span no plane after the preprocessing {preprocess.settings()}"
            )
        built = geometry.build_planes(jnp.asarray(inputs))
        axes = geometry.grid_axes(built.corners, density=self.settings.density, expansion=self.settings.expansion)
        axis1, axis2 = (np.asarray(axis) for axis in axes)
        nodes = geometry.sample_nodes(np.asarray(built.corners), axis1, axis2)
        return Layout(triplets, self.samples.labels[triplets], built, axis1, axis2, nodes)

    def fit(self, model: Model) -> Model:
        """The model, told the shape of the images that it will see.

        Weights of a convolutional network say nothing of its image size, so a size that runs is accepted and noted.
        For any other model images are resized to what it takes, which is noted too.

        Raises:
          SamplesError: the samples cannot be shown to the model.
        """
        labels = self.samples.labels
        if labels.max() >= model.num_classes:
            raise SamplesError(
                f"samples {self.samples.source}: labels reach {labels.max()}, "
                f"the model ({model.architecture}) has classes 0 .. {model.num_classes - 1}"
            )
        seen = (*(model.preprocess.size or self.samples.images.shape[1:3]), self.samples.images.shape[3])
        if seen == tuple(model.input_shape):
            return model
        if seen[2] == model.input_shape[2] and isinstance(model, Classifier) and (found := _wired(model, seen)):
            note = f"image size {seen[:2]} taken from the samples, published for {tuple(model.input_shape[:2])}"
            return dataclasses.replace(found, input_shape=seen, notes=(*found.notes, note))
        if seen[2] != model.input_shape[2] or model.preprocess.size is not None:
            raise SamplesError(
                f"samples {self.samples.source}: images are {seen} (height, width, channels) after preprocessing, "
                f"the model ({model.architecture}) takes {tuple(model.input_shape)}; "
                "give matching samples, or a `size` in the preprocessing"
            )
        size = (model.input_shape[0], model.input_shape[1])
        note = f"samples of {seen[:2]} are resized to the {size} that the network takes (bilinear)"
        preprocess = dataclasses.replace(model.preprocess, size=size)
        return dataclasses.replace(model, preprocess=preprocess, notes=(*model.notes, note))

    def settle(self, model: Model, engine: InferenceOptions | None = None) -> tuple[Model, int]:
        """The model fitted, its variant chosen where weights leave it open, and the labels asked."""
        return variant.choose_variant(self.fit(model), self.samples.subset(self._accuracy_index), engine or self.engine)

    def scan(
        self, model: Model, goal: sampling.StoppingRule | None = None, engine: InferenceOptions | None = None
    ) -> ScanResult:
        """Clean accuracy, label maps and scores of one model.

        Args:
          goal: thresholds; settings that stop early (cascade, max_queries) need them.
          engine: for this model; None takes the scanner's.

        Raises:
          SamplesError: the samples do not fit the model, or span no planes.
          labels.LabelError: a black box returned no valid labels.
          ValueError: a goal is needed and missing.
        """
        started = time.perf_counter()
        engine = engine or self.engine
        model, settling = self.settle(model, engine)
        model = labels_lib.to_device(model, engine)
        sample = self.samples.subset(self._accuracy_index)
        predicted = labels_lib.label_images(model, sample.images, engine)
        seconds = {"accuracy": time.perf_counter() - started, "labels": 0.0, "scores": 0.0}

        ask = functools.partial(self._ask, model, engine, seconds)
        sampled = sampling.sample_until_decided(ask, self.settings.sampling, goal, self.settings.max_queries)
        re, ats, counts = (
            np.concatenate([getattr(batch, name) for batch in sampled.batches]) for name in ("re", "ats", "counts")
        )
        return ScanResult(
            re=re,
            ats=ats,
            counts=counts,
            clean_accuracy=float(np.mean(predicted == sample.labels)),
            accuracy_images=len(sample),
            constant=len(np.unique(predicted)) == 1,
            queries=settling + len(sample) + sampled.queries,
            maps=LabelMaps.concatenate([batch.maps for batch in sampled.batches]),
            seconds=seconds,
            sampling=sampled.sampling,
            stopped=sampled.stopped,
        )

    def _ask(
        self, model: Model, engine: InferenceOptions, seconds: dict[str, float], kind: str, batch: int
    ) -> sampling.Batch:
        """Label maps and scores of one batch of planes."""
        started = time.perf_counter()
        layout = self._layout(model.preprocess, batch)
        index, coordinates = geometry.node_coordinates(layout.axis1, layout.axis2)

        def answer(nodes: np.ndarray) -> np.ndarray:
            return labels_lib.label_points(model, layout.planes, index[nodes], coordinates[nodes], engine)

        settings = self.settings
        first = batch * settings.planes
        refined = refine.run_refinement(
            sampling.questions(kind, layout.sample_nodes, settings.density, settings.seed, first), answer
        )
        maps = LabelMaps(
            refined.labels.astype(labels_lib.label_dtype(model.num_classes)),
            layout.triplets,
            layout.sample_nodes,
            layout.sample_labels,
            layout.axis1,
            layout.axis2,
        )
        labelled = time.perf_counter()
        re, ats, counts = scores(maps, settings, model.num_classes)
        seconds["labels"] += labelled - started
        seconds["scores"] += time.perf_counter() - labelled
        return sampling.Batch(maps, counts, re, ats, int(np.count_nonzero(refined.asked)))


def _wired(model: Classifier, shape: tuple[int, int, int]) -> Classifier | None:
    """The model with its own network, or another that its weights fit, for images of this shape; None without one."""
    others = model.variants.alternatives(model.network, shape, usual=True) if model.variants else ()
    networks = [model.network, *(network for axis in others[:1] for network in axis)]
    found = next((network for network in networks if _runs(dataclasses.replace(model, network=network), shape)), None)
    if found is None or found == model.network:
        return None if found is None else model
    assert model.variants is not None
    usual = model.variants.note(model.network)
    notes = (*(note for note in model.notes if note != usual), model.variants.note(found))
    return dataclasses.replace(
        model,
        network=found,
        architecture=model.variants.describe(found),
        notes=notes,
        variants=model.variants.of_images(shape),
    )


def _runs(model: Classifier, shape: tuple[int, ...]) -> bool:
    """Whether the network takes images of this shape; nothing is computed."""
    images = jax.ShapeDtypeStruct((model.batch_size or 1, *shape), jnp.float32)
    try:
        jax.eval_shape(model.network.apply, model.variables, images)
    except Exception:  # whatever a network raises for a shape that it cannot take
        return False
    return True


def scores(maps: LabelMaps, settings: PlanesOptions, num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RE `[N]`, ATS `[N]` and label counts `[N, C]` from label maps alone."""
    counts = metrics.label_counts(maps.labels, num_classes)
    re = metrics.renyi_entropy(counts, settings.alpha)
    ats = metrics.ats(maps.labels, maps.sample_nodes, maps.sample_labels, cap=settings.ats_cap, kind=settings.ats)
    return re, ats, counts


def scan_model(
    model: Model, samples: Samples, settings: PlanesOptions | None = None, engine: InferenceOptions | None = None
) -> ScanResult:
    """Scans one model. For many models over the same samples use one `Scanner`."""
    return Scanner(samples, settings, engine).scan(model)


def score(
    label_fn: Callable[[np.ndarray], np.ndarray],
    samples: Samples,
    num_classes: int,
    *,
    preprocess: Preprocess | None = None,
    settings: PlanesOptions | None = None,
    batch_size: int = 256,
) -> ScanResult:
    """Scores any callable that gives hard labels: the true black box.

    Args:
      label_fn: float32 `[batch_size, H, W, C]`, in the space that `preprocess` maps to (by default pixels in [0, 1]),
        to integer labels `[batch_size]`. Points of planes are not clamped to the valid pixel range.
      num_classes: labels are 0 .. num_classes - 1.
    """
    preprocess = preprocess or Preprocess()
    height, width, channels = samples.images.shape[1:]
    shape = (*(preprocess.size or (height, width)), channels)
    model = BlackBox(label_fn, num_classes, shape, preprocess=preprocess, batch_size=batch_size)
    return scan_model(model, samples, settings)


def settings_row(settings: PlanesOptions, engine: InferenceOptions) -> dict[str, Any]:
    """Everything that can change a score, as JSON values."""
    return {**asdict(settings), "precision": engine.precision}

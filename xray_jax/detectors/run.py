"""One model through several detectors."""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xray_jax.classifier import BlackBox, Model
from xray_jax.detectors import registry
from xray_jax.detectors.detection import Detection, Detector, TakesHints
from xray_jax.detectors.planes.detector import Planes, PlanesResult
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import PreparedModel, prepare
from xray_jax.preprocess import Preprocess
from xray_jax.samples import Samples


@dataclass(frozen=True)
class ScannedModel:
    """What the detectors say of one model.

    Attributes:
      model: as it was asked.
      detections: by detector, in the order in which they were named.
      not_run: detectors that did not run, and why.
    """

    model: PreparedModel
    detections: Mapping[str, Detection]
    not_run: Mapping[str, str]

    def __repr__(self) -> str:
        """The model and what each detector found, a line each."""
        return "\n".join(["<ScannedModel", *(f"  {part!r}" for part in (self.model, *self.detections.values()))]) + ">"

    def _repr_html_(self) -> str:
        """The statistics of all detectors as a table."""
        lines = [
            (name, each.name, "" if each.value is None else f"{each.value:.4g}", f"{each.suspect} is suspect")
            for name, found in self.detections.items()
            for each in found.statistics
        ]
        cells = "".join(f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in line)}</tr>" for line in lines)
        return f"<p>{html.escape(repr(self.model))}</p><table><tbody>{cells}</tbody></table>"

    @property
    def target(self) -> int | None:
        """The likely target: the last word of the detectors that name one."""
        named = [found.target for found in self.detections.values() if found.target is not None]
        return named[-1] if named else None

    @property
    def queries(self) -> int:
        """Hard labels asked for, all in all."""
        return self.model.queries + sum(found.queries for found in self.detections.values())


def run_detectors(
    model: PreparedModel,
    samples: Samples,
    detectors: Sequence[Detector],
    on_detector: Callable[[str], None] | None = None,
) -> ScannedModel:
    """Every detector that the model's access allows, in order; those that take hints run last.

    Args:
      on_detector: called with a detector's name before it runs.

    Raises:
      ValueError: two detectors have one name, or one cannot be run on this model or with these samples.
    """
    check_names(detectors)
    found: dict[str, Detection] = {}
    not_run = {}
    for detector in sorted(detectors, key=lambda each: isinstance(each, TakesHints)):
        if detector.access > model.access:
            have, need = model.access.name.lower(), detector.access.name.lower()
            not_run[detector.name] = f"it needs {need}, the model gives {have} only"
        else:
            if on_detector is not None:
                on_detector(detector.name)
            hints = [hint for detection in found.values() for hint in detection.hints]
            if hints and isinstance(detector, TakesHints):
                found[detector.name] = detector.detect_hinted(model, samples, hints)
            else:
                found[detector.name] = detector.detect(model, samples)
    # Whoever reads them finds them as they were named.
    in_order = {detector.name: found[detector.name] for detector in detectors if detector.name in found}
    return ScannedModel(model, in_order, not_run)


def check_names(detectors: Sequence[Detector]) -> None:
    """Refuses two detectors of one name: rows and results hold one entry a name.

    Raises:
      ValueError: naming it.
    """
    names = [detector.name for detector in detectors]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"detectors {twice} are given twice: run them one after the other")


def scan_model(
    model: Model,
    samples: Samples,
    detectors: Sequence[Detector] | None = None,
    options: InferenceOptions | None = None,
    seed: int = 0,
) -> ScannedModel:
    """Scans one model. For many models over the same samples use `BatchScan`.

    Args:
      model: as `checkpoints.load` gives it, or a `BlackBox`.
      samples: clean images with labels.
      detectors: None takes the default ones.
      options: how queries run.
      seed: of the samples that the accuracy is measured on, and of the default detectors.

    Raises:
      SamplesError: the samples do not fit the model, or a detector cannot work with them.
      LabelError: a black box returned no valid labels.
    """
    chosen = registry.make(registry.DEFAULT, seed=seed) if detectors is None else detectors
    return run_detectors(prepare(model, samples, options, seed), samples, chosen)


def score(
    label_fn: Callable[[np.ndarray], np.ndarray],
    samples: Samples,
    num_classes: int,
    *,
    preprocess: Preprocess | None = None,
    options: PlanesOptions | None = None,
    batch_size: int = 256,
) -> PlanesResult:
    """RE and ATS of any callable that gives hard labels: the true black box.

    Args:
      label_fn: float32 `[batch_size, H, W, C]`, in the space that `preprocess` maps to (by default pixels in [0, 1]),
        to integer labels `[batch_size]`. Points of planes are not clamped to the valid pixel range.
      samples: clean images with labels.
      num_classes: labels are 0 .. num_classes - 1.
      preprocess: pixel values to the callable's input space.
      options: of the planes.
      batch_size: images a call.

    Raises:
      SamplesError: the samples do not fit, or span no planes.
      LabelError: the callable returned no valid labels.
    """
    preprocess = preprocess or Preprocess()
    height, width, channels = samples.images.shape[1:]
    shape = (*(preprocess.size or (height, width)), channels)
    model = BlackBox(label_fn, num_classes, shape, preprocess=preprocess, batch_size=batch_size)
    planes = Planes(options)
    return planes.scan(prepare(model, samples, seed=planes.options.seed), samples)

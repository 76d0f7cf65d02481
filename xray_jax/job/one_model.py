"""One model scanned in this process, for notebooks and training code: a checkpoint, a network, or any callable."""

import html
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import jax.numpy as jnp
import numpy as np

from xray_jax import samples as samples_module
from xray_jax.checkpoints import split_part
from xray_jax.classifier import BlackBox, Classifier, Model
from xray_jax.detectors import registry
from xray_jax.detectors.detection import Detector
from xray_jax.detectors.run import ScannedModel
from xray_jax.inference.options import InferenceOptions
from xray_jax.preprocess import Preprocess, parse
from xray_jax.report.row_values import compared, number, statistics
from xray_jax.report.sentences import outcome, sentence
from xray_jax.report.terminal_text import printable
from xray_jax.rows.row import Row
from xray_jax.samples import Samples
from xray_jax.sweep.batch_scan import BatchScan
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.sweep.options import BatchScanOptions
from xray_jax.sweep.progress import OnProgress
from xray_jax.verdict.calibration import Calibration, load_calibration
from xray_jax.verdict.references import References
from xray_jax.verdict.references import load as load_references

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scannable = str | Path | Model | Callable[[np.ndarray], Any]
"""A path of a checkpoint, a model, or a callable from images to labels or logits."""


class ScanOptions(TypedDict, total=False):
    """How one model is scanned.

    Attributes:
      references: clean models to compare with, or where they are (`verdict.references.load`).
      calibration: thresholds of the planes, or where they are (`verdict.calibration.load_calibration`).
      detectors: names or detectors, in order; by default those of the references, or else planes and probe.
      name: of the model, for its row; by default the path's last part, or the architecture.
      num_classes: of a checkpoint that does not say it; of a callable, by default one more than the largest label of
        the samples.
      preprocess: pixel values to the input space of a checkpoint or a callable; by default what fits a checkpoint
        best, and pixels in [0, 1] for a callable.
      seed: of everything that is drawn.
      inference: how queries run.
      progress: told each step (`sweep.progress.Progress`).
    """

    references: References | str | Path | None
    calibration: Calibration | str | Path | None
    detectors: Sequence[str | Detector] | None
    name: str | None
    num_classes: int | None
    preprocess: Preprocess | str | None
    seed: int
    inference: InferenceOptions | None
    progress: OnProgress | None


class Result:
    """What a scan found on one model; the last expression of a notebook's cell shows it.

    Attributes:
      row: as a batch scan writes it.
      scanned: what is behind it; None where nothing was scanned, or where the row was read from a file.
    """

    def __init__(self, row: Row, scanned: ScannedModel | None = None) -> None:
        self.row, self.scanned = row, scanned

    @property
    def verdict(self) -> str:
        """The verdict, or the status of a model that was not scanned."""
        return outcome(self.row)

    @property
    def sentence(self) -> str:
        """The verdict and why, in one plain sentence."""
        return printable(sentence(self.row))

    @property
    def p_value(self) -> float | None:
        """Among the reference models; None without them."""
        against = compared(self.row)
        return None if against is None else against.p_value

    def __repr__(self) -> str:
        return f"<Result {printable(self.row['id'])}: {self.sentence}>"

    def _repr_html_(self) -> str:
        """Verdict, statistics and cost as HTML, all of it text."""
        facts = [(f"{each.detector} {each.name}", _shown(each.value)) for each in statistics(self.row)]
        facts += [("clean accuracy", _shown(number(self.row.get("clean_accuracy"))))]
        facts += [("p-value", _shown(self.p_value)), ("labels asked for", f"{self.row.get('queries', 0):,}")]
        lines = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in facts)
        name = html.escape(printable(self.row["id"]))
        return f"<p><b>{name}</b><br>{html.escape(self.sentence)}</p><table><tbody>{lines}</tbody></table>"

    def plot(self, references: Iterable[Row] = ()) -> "Figure":
        """The label distribution, the margin by class and the trigger's response, as far as the row has them.

        Args:
          references: rows of clean models of the same task, to draw beside.
        """
        from xray_jax.report.model_figures import model_figure

        return model_figure(self.row, references)


def scan(
    model: Scannable,
    samples: Samples | str | Path,
    *,
    fpr: float = 0.05,
    references: References | str | Path | None = None,
    calibration: Calibration | str | Path | None = None,
    detectors: Sequence[str | Detector] | None = None,
    name: str | None = None,
    num_classes: int | None = None,
    preprocess: Preprocess | str | None = None,
    seed: int = 0,
    inference: InferenceOptions | None = None,
    progress: OnProgress | None = None,
) -> Result:
    """Scans one model in this process. A model that cannot be scanned has a result that says so.

    Args:
      model: a path of a checkpoint, a model, or a callable from images to labels `[B]` or logits `[B, C]`; of a
        callable nothing but labels is used.
      samples: clean images with labels, or where they are (`samples.read`).
      fpr: false-positive rate of the verdict against the references; without them it plays no part.
      references: as in `ScanOptions`, like all that follow.

    Raises:
      ValueError: samples, references or options cannot be used, alone or together.
    """
    if isinstance(samples, str | Path):
        samples = samples_module.read(samples)
    if isinstance(references, str | Path):
        references = load_references(references)
    if isinstance(calibration, str | Path):
        calibration = load_calibration(str(calibration))
    options = BatchScanOptions(
        references=references, calibration=calibration, fpr=fpr, seed=seed, loaders=1, scanners=1
    )
    asked = detectors or (registry.DEFAULT if references is None else tuple(references.settings))
    batch = BatchScan(samples, _made(asked, seed), options, inference)
    if isinstance(model, str | Path):
        path, part = split_part(model)
        own = path.name if part is None else f"{path.name}#{part}"
        entry = Entry(name or own, path, None, num_classes, _spec(preprocess), listed=True, part=part)
        (made,) = batch.run([entry], progress=progress)
    else:
        asked_model = _model(model, samples, num_classes, preprocess)
        made = batch.of_model(asked_model, name or asked_model.architecture, progress)
    return Result(made.row, made.scanned)


def _made(asked: Sequence[str | Detector], seed: int) -> list[Detector]:
    """Detectors of their names; those that are given stay as they are."""
    return [registry.make((each,), seed=seed)[0] if isinstance(each, str) else each for each in asked]


def _model(
    model: Model | Callable[[np.ndarray], Any], samples: Samples, num_classes: int | None, preprocess: Any
) -> Model:
    if isinstance(model, Classifier | BlackBox):
        if num_classes is not None or preprocess is not None:
            raise ValueError("num_classes and preprocess are the model's own: set them there")
        return model
    if not callable(model):
        raise ValueError(f"model must be a path, a model or a callable, got {type(model).__name__}")
    space = parse(preprocess)
    height, width, channels = samples.images.shape[1:]
    shape = (*(space.size or (height, width)), channels)
    classes = num_classes or int(samples.labels.max()) + 1
    return BlackBox(_labels_of(model), classes, shape, getattr(model, "__name__", "callable"), space)


def _labels_of(model: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Hard labels of a callable that gives labels or logits."""

    def labels(images: np.ndarray) -> np.ndarray:
        # A copy of its own: what it does to its images in place is not seen here.
        answers = np.asarray(model(images.copy()))
        if answers.ndim != 2:
            return answers
        if answers.shape[1] < 2:
            raise ValueError(
                f"the model gives scores of shape {list(answers.shape)}: one score an image is no logits of classes; "
                "return labels, or a score for each class"
            )
        # bfloat16 too, which numpy knows by JAX only.
        if jnp.issubdtype(answers.dtype, jnp.inexact) and not np.isfinite(answers.astype(np.float32)).all():
            raise ValueError("the model's logits are no finite numbers")
        return answers.argmax(axis=1)

    return labels


def _spec(preprocess: Preprocess | str | None) -> Any:
    return preprocess.settings() if isinstance(preprocess, Preprocess) else preprocess


def _shown(value: float | None) -> str:
    return "not computed" if value is None else f"{value:.4g}"

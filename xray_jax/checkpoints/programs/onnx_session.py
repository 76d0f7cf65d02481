"""A session of onnxruntime: how it is opened, called on images, and which of its outputs are class scores."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.image_input import ImageInput, image_input
from xray_jax.checkpoints.programs import onnx_model
from xray_jax.classifier import ScoreFn

_REMOTE = ("AzureExecutionProvider",)
"""Providers that send data to other machines."""
_HOST = ["CPUExecutionProvider"]

FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
_LABELS = ("tensor(int64)", "tensor(int32)", "tensor(string)")

MAX_BATCH = 1 << 28
"""Numbers that a model may take at once."""

Labels = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Session:
    """A session that takes one batch of images.

    Attributes:
      runtime: onnxruntime's session.
      name: of the input.
      dtype: of the images.
      entry: how images enter it.
      batch: the only batch size that it takes; None where that is open.
    """

    runtime: Any
    name: str
    dtype: type
    entry: ImageInput
    batch: int | None

    def __call__(self, images: np.ndarray, outputs: Sequence[str]) -> list[list[Any]]:
        """For each batch, the values of `outputs`; a last short batch is padded, so they may have rows too many."""
        size = self.batch or max(len(images), 1)
        results = []
        for start in range(0, len(images), size):
            rows = images[start : start + size]
            padded = np.concatenate([rows, np.repeat(rows[:1], size - len(rows), 0)]) if len(rows) < size else rows
            given: np.ndarray = np.ascontiguousarray(self.entry.enter(padded), self.dtype)
            results.append(self.runtime.run(list(outputs), {self.name: given}))
        return results

    def scores(self, images: np.ndarray, output: str) -> np.ndarray:
        """One row of an output for each image."""
        rows: np.ndarray = as_rows(np.concatenate([values[0] for values in self(images, [output])]))
        return rows[: len(images)]


def as_rows(scores: Any) -> Any:
    """`[B, classes, 1, 1]`, as a convolution or a pooling makes it, to `[B, classes]`; others as they are."""
    return scores.reshape(scores.shape[:2]) if scores.ndim > 2 and set(scores.shape[2:]) == {1} else scores


def open_session(model: str | bytes, folder: Path | None = None) -> Session:
    """A session of a model that `onnx_model` has checked.

    Args:
      model: a path, or what is in the file.
      folder: of its weights in other files, for what is in a file.

    Raises:
      CheckpointError: onnxruntime refuses it or is not installed, or it does not take one batch of images.
    """
    runtime = _runtime(model, folder)
    if len(runtime.get_inputs()) != 1:
        names = [value.name for value in runtime.get_inputs()]
        raise CheckpointError(f"it has the inputs {names}, expected one batch of images")
    given: Any = runtime.get_inputs()[0]
    if given.type not in FLOATS:
        raise CheckpointError(f"its input is {given.type}, expected floating-point images; export it with float inputs")
    entry = image_input([n if type(n) is int else None for n in given.shape[1:]], channels_first=True)
    batch = given.shape[0] if given.shape and type(given.shape[0]) is int and given.shape[0] > 0 else None
    if batch and batch * math.prod(entry.shape) > MAX_BATCH:
        raise CheckpointError(f"it takes {batch} images of {entry.shape} at once and no fewer: refused")
    return Session(runtime, given.name, FLOATS[given.type], entry, batch)


def _runtime(model: str | bytes, folder: Path | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise CheckpointError(onnx_model.MISSING) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Or it would also take its own, older format, which nothing here has checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    providers = [name for name in onnxruntime.get_available_providers() if name not in _REMOTE]
    try:
        try:
            # Its own fallback prints on stdout, where only rows belong.
            return onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)
        except Exception:
            if providers == _HOST:
                raise
            return onnxruntime.InferenceSession(model, options, providers=_HOST, enable_fallback=0)
    except Exception as error:
        raise CheckpointError(f"onnxruntime does not open it ({' '.join(str(error).split())[:300]})") from error


@dataclass(frozen=True)
class Output:
    """What of a model's outputs says which class an image is of.

    Attributes:
      name: of the output.
      labels: names of the classes, for a list of {label: probability}; None for rows of scores.
      classes: how many there are.
    """

    name: str
    labels: tuple[Any, ...] | None
    classes: int

    def score_fn(self, session: Session) -> ScoreFn | None:
        """Images to rows of scores, by a session; None for lists of {label: probability}."""
        return None if self.labels is not None else lambda images: session.scores(images, self.name)

    def label_fn(self, session: Session) -> Labels:
        """Images to labels, by a session."""

        def from_scores(images: np.ndarray) -> np.ndarray:
            rows = session.scores(images, self.name)
            return np.argmax(np.where(np.isnan(rows), -np.inf, rows), axis=1).astype(np.int32)

        names = self.labels
        if names is None:
            return from_scores

        def from_maps(images: np.ndarray) -> np.ndarray:
            rows = [row for values in session(images, [self.name]) for row in values[0]][: len(images)]
            return np.array([max(range(len(names)), key=lambda k: row[names[k]]) for row in rows], np.int32)

        return from_maps


def class_output(session: Session) -> Output:
    """The output that is class scores, found by what the model puts out for black images.

    Raises:
      CheckpointError: there is none, or more than one.
    """
    outputs = session.runtime.get_outputs()
    names = [o.name for o in outputs]
    black = np.zeros((session.batch or 2, *session.entry.shape), np.float32)
    made = [as_rows(value) if isinstance(value, np.ndarray) else value for value in session(black, names)[0]]
    tried = dict(zip(names, made, strict=True))
    floats = [o.name for o in outputs if o.type in FLOATS and np.ndim(tried[o.name]) == 2]
    scores = [name for name in floats if tried[name].shape[1] > 1]
    named = [name for name in scores if name.lower() in ("logits", "probabilities", "scores", "output")]
    if len(scores) == 1 or len(named) == 1:
        name = (named or scores)[0]
        return Output(name, None, tried[name].shape[1])
    maps = [o.name for o in outputs if isinstance(tried[o.name], list) and tried[o.name]]
    if len(outputs) == 2 and outputs[0].type in _LABELS and len(maps) == 1 and isinstance(tried[maps[0]][0], dict):
        # scikit-learn's classifiers: a label, and a list of {label: probability}.
        labels = tuple(sorted(tried[maps[0]][0]))
        return Output(maps[0], labels, len(labels))
    shown = [f"{o.name}: {o.type} {o.shape}" for o in outputs]
    raise CheckpointError(f"its outputs are {shown}, expected [batch, classes] of scores, or a label and probabilities")

"""ONNX models through onnxruntime: a black box on the host, on every execution provider at hand.

Before onnxruntime sees a file, `onnx_model` checks its protobuf: only operators of onnxruntime itself are allowed,
custom operator libraries are never registered, and weights in other files must lie in the model's own folder. The
format has no checksum: a damaged weight can go unnoticed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.image_input import ImageInput, image_input
from xray_jax.checkpoints.programs import onnx_model
from xray_jax.classifier import BlackBox

NAME = "ONNX"
_REMOTE = ("AzureExecutionProvider",)
"""Providers that send data to other machines."""
_HOST = ["CPUExecutionProvider"]

_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
_LABELS = ("tensor(int64)", "tensor(int32)", "tensor(string)")


def matches(path: Path, head: bytes) -> bool:
    """By suffix, or by the version and the field that follows it: protobuf has no signature."""
    return path.suffix.lower() == ".onnx" or (
        head[:1] == b"\x08" and 1 <= head[1] <= 20 and head[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x3a", b"\x42")
    )


def read(path: Path) -> BlackBox:
    """A model that takes one batch of images, and gives class scores, or labels and probabilities.

    Raises:
      CheckpointError: saying what is refused or does not fit, or that the extra `onnx` is not installed.
    """
    data, locations = onnx_model.inspect(Source.of(path))
    external = onnx_model.check_external(locations, path)
    session = _session(str(path) if external else data)
    if len(session.get_inputs()) != 1:
        names = [value.name for value in session.get_inputs()]
        raise CheckpointError(f"it has the inputs {names}, expected one batch of images")
    given: Any = session.get_inputs()[0]
    if given.type not in _FLOATS:
        raise CheckpointError(f"its input is {given.type}, expected floating-point images; export it with float inputs")
    entry = image_input([n if type(n) is int else None for n in given.shape[1:]], channels_first=True)
    batch = given.shape[0] if given.shape and type(given.shape[0]) is int and given.shape[0] > 0 else None
    run = _Run(session, given.name, _FLOATS[given.type], entry, batch)
    label_fn, classes = _labels(session, run)
    notes = () if onnx_model.layout_is_certain(entry) else (f"its image layout is taken to be {entry.form}",)
    return BlackBox(label_fn, classes, entry.shape, "onnx graph", batch_size=batch, notes=notes)


def _session(model: str | bytes) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise CheckpointError(onnx_model.MISSING) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Or it would also take its own, older format, which nothing here has checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
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


class _Run:
    """Calls a session on images, in batches of its own size where that is fixed."""

    def __init__(self, session: Any, name: str, dtype: type, entry: ImageInput, batch: int | None) -> None:
        self._session, self._name, self._dtype, self._entry, self._batch = session, name, dtype, entry, batch

    def __call__(self, images: np.ndarray, outputs: Sequence[str]) -> list[list[Any]]:
        """For each batch, the values of `outputs`; a last short batch is padded, so they may have rows too many."""
        size = self._batch or max(len(images), 1)
        results = []
        for start in range(0, len(images), size):
            rows = images[start : start + size]
            padded = np.concatenate([rows, np.repeat(rows[:1], size - len(rows), 0)]) if len(rows) < size else rows
            given: np.ndarray = np.ascontiguousarray(self._entry.enter(padded), self._dtype)
            results.append(self._session.run(list(outputs), {self._name: given}))
        return results

    def zeros(self, outputs: Sequence[str]) -> list[Any]:
        return self(np.zeros((self._batch or 2, *self._entry.shape), np.float32), outputs)[0]


def _labels(session: Any, run: _Run) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """The label function and the number of classes, from what the model puts out."""
    outputs = session.get_outputs()
    tried = dict(zip([o.name for o in outputs], run.zeros([o.name for o in outputs]), strict=True))
    floats = [o.name for o in outputs if o.type in _FLOATS and np.ndim(tried[o.name]) == 2]
    scores = [name for name in floats if tried[name].shape[1] > 1]
    named = [name for name in scores if name.lower() in ("logits", "probabilities", "scores", "output")]
    if len(scores) == 1 or len(named) == 1:
        name = (named or scores)[0]

        def from_scores(images: np.ndarray) -> np.ndarray:
            rows = np.concatenate([values[0] for values in run(images, [name])])[: len(images)]
            return np.argmax(np.where(np.isnan(rows), -np.inf, rows), axis=1).astype(np.int32)

        return from_scores, tried[name].shape[1]
    maps = [o.name for o in outputs if isinstance(tried[o.name], list) and tried[o.name]]
    if len(outputs) == 2 and outputs[0].type in _LABELS and len(maps) == 1 and isinstance(tried[maps[0]][0], dict):
        # scikit-learn's classifiers: a label, and a list of {label: probability}.
        names = sorted(tried[maps[0]][0])

        def from_maps(images: np.ndarray) -> np.ndarray:
            rows = [row for values in run(images, maps) for row in values[0]][: len(images)]
            return np.array([max(range(len(names)), key=lambda k: row[names[k]]) for row in rows], np.int32)

        return from_maps, len(names)
    shown = [f"{o.name}: {o.type} {o.shape}" for o in outputs]
    raise CheckpointError(f"its outputs are {shown}, expected [batch, classes] of scores, or a label and probabilities")

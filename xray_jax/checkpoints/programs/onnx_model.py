"""The check of an ONNX file before anything runs: its operators and files of weights, from the parsed protobuf.

The `onnx` package parses it, with the schema and the rules that onnxruntime shares, and never follows a reference to
another file. Messages take up to a hundred times the bytes that encode them, so the first parse of a file that is not
small happens in a process whose memory is bounded (`onnx_rehearsal`); protobuf itself refuses messages nested more than
a hundred deep.
"""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np

from xray_jax.checkpoints.bounded_file import Source
from xray_jax.checkpoints.contents import SLACK, CheckpointError
from xray_jax.checkpoints.image_input import ImageInput

MAX_BYTES = (2 << 30) - 1
"""The most that protobuf parses; larger models keep their weights beside them."""
SMALL_BYTES = 2 << 20
"""Up to here a file is parsed at once: it takes some 200 MB at worst."""
MAX_MESSAGES = 1 << 18
"""Nodes, attributes, tensors and types; a large classifier has some ten thousand."""

MISSING = "ONNX models need onnx and onnxruntime: pip install 'xray-jax[onnx]'"

REHEARSAL_SECONDS = 120
_REFUSAL = 3

LOCATION = "location"
"""The key of a file name in a tensor's external data."""
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_REFUSED = frozenset({"EPContext", "ATen", "PythonOp", "PythonOpGrad"})
"""Operators that carry compiled code, or call into another runtime."""
_MEMORY = "_ORT_MEM_ADDR_"
"""How onnxruntime names weights that lie at an address of its own process."""


class Inspected(NamedTuple):
    """A file that was checked.

    Attributes:
      data: its bytes.
      model: the ModelProto in them.
      locations: of weights outside of it, as it states them.
    """

    data: bytes
    model: Any
    locations: frozenset[str]


def inspect(source: Source) -> Inspected:
    """Reads a serialised ModelProto and checks it.

    Args:
      source: the file.

    Raises:
      CheckpointError: when it is damaged or too large, uses operators that are not onnxruntime's own, or has parts
        that the installed `onnx` does not know; and when `onnx` is not installed.
    """
    if source.size > MAX_BYTES:
        raise CheckpointError(
            f"it has {source.size} bytes, protobuf parses at most {MAX_BYTES}; "
            "save its weights beside it (external data)"
        )
    if source.size > SMALL_BYTES:
        _rehearse(source)
    data = source.read(0, source.size).tobytes()
    model = _parse(data)
    if not model.HasField("graph"):
        raise CheckpointError("damaged ONNX: no graph in it")
    operators: set[tuple[str, str]] = set()
    own: set[tuple[str, str]] = set()
    files: set[str] = set()
    for number, message in enumerate(_messages(model)):
        if number >= MAX_MESSAGES:
            raise CheckpointError(f"it has more than {MAX_MESSAGES} nodes and attributes: refused")
        kind = message.DESCRIPTOR.name
        if kind == "NodeProto":
            operators.add((message.domain, message.op_type))
        elif kind == "FunctionProto":
            own.add((message.domain, message.name))
        elif kind == "TensorProto":
            files |= _locations(message)
    custom = sorted(
        f"{domain}.{operator}".strip(".")
        for domain, operator in operators
        if (domain not in _DOMAINS and (domain, operator) not in own) or operator in _REFUSED
    )
    if custom:
        raise CheckpointError(f"it uses custom operators ({', '.join(custom[:10])}), which are never loaded: refused")
    return Inspected(data, model, frozenset(files))


def check_external(locations: frozenset[str], path: Path) -> bool:
    """Whether weights lie in other files, all of them inside the model's folder.

    Args:
      locations: what `inspect` found.
      path: of the model.

    Raises:
      CheckpointError: naming a location that leaves the folder or is missing.
    """
    folder = Path(os.path.realpath(path.parent))
    for location in sorted(locations):
        parts = PurePosixPath(location).parts + PureWindowsPath(location).parts
        outside = PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive or ".." in parts
        target = Path(os.path.realpath(folder / location))
        if outside or not location or _MEMORY in location or not target.is_relative_to(folder):
            raise CheckpointError(f"its weights are to be read from {location!r}, outside of its own folder: refused")
        if not target.is_file():
            raise CheckpointError(f"its weights are in {location!r}, which is missing; put it beside the model")
    return bool(locations)


def read_tensor(tensor: Any, folder: Path) -> np.ndarray:
    """The array of a TensorProto whose location `check_external` has allowed.

    Args:
      tensor: of a type that numpy has.
      folder: of the model.

    Raises:
      CheckpointError: its bytes are not as many as its shape says.
    """
    from onnx import helper, numpy_helper

    if tensor.data_location != tensor.EXTERNAL:
        return numpy_helper.to_array(tensor)
    stated = {entry.key: entry.value for entry in tensor.external_data}
    dtype, shape = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)), tuple(tensor.dims)
    length = dtype.itemsize * math.prod(shape)
    source, offset = Source.of(folder / stated[LOCATION]), int(stated.get("offset", 0))
    if int(stated.get("length", length)) != length or not 0 <= offset <= source.size - length:
        raise CheckpointError(f"damaged ONNX: {stated[LOCATION]!r} does not hold the {length} bytes that it should")
    return np.frombuffer(source.read(offset, length), dtype).reshape(shape)


def layout_is_certain(entry: ImageInput) -> bool:
    """Whether only one of height-width-channels and channels-height-width fits the input's sizes."""
    height, _, channels = entry.shape
    return len({height, channels} & {1, 3, 4}) == 1 and height != channels


def _parse(data: bytes) -> Any:
    """The ModelProto of the file."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise CheckpointError(MISSING) from error
    try:
        return onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise CheckpointError(f"damaged or truncated ONNX ({error}); copy it again") from error


def _rehearse(source: Source) -> None:
    """Parses it in another process first, which may take four times the file."""
    # By path and with -P: the package need not be imported there, and its `onnx.py` must not hide the library's.
    command = [sys.executable, "-P", str(Path(__file__).with_name("onnx_rehearsal.py")), str(4 * source.size + SLACK)]
    try:
        with source.open() as file:
            done = subprocess.run(command, stdin=file, capture_output=True, timeout=REHEARSAL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(
            f"parsing it took more than {REHEARSAL_SECONDS} s: damaged or hostile; refused"
        ) from error
    reason = done.stdout.decode(errors="replace").strip()
    # protobuf counts a failed allocation among the reasons.
    if done.returncode == _REFUSAL and "alloc" not in reason:
        raise CheckpointError(f"damaged or truncated ONNX ({reason}); copy it again")
    if done.returncode == 1 and b"No module named" in done.stderr:
        raise CheckpointError(MISSING)
    if done.returncode:
        raise CheckpointError(
            f"its nodes unpack to far more than its {source.size} bytes, or crash the parser (exit {done.returncode}): "
            "damaged or hostile; refused"
        )


def _messages(message: Any) -> Iterator[Any]:
    """The message and all below it, whatever fields they are in.

    Raises:
      CheckpointError: for a part that the schema does not know: what onnxruntime makes of it could not be checked.
    """
    import onnx
    from google.protobuf.unknown_fields import UnknownFieldSet

    if len(UnknownFieldSet(message)):
        raise CheckpointError(
            f"it has parts that onnx {onnx.__version__} does not know, in a {message.DESCRIPTOR.name}: damaged, or "
            "written by a newer version; pip install --upgrade onnx onnxruntime"
        )
    yield message
    # The other fields of a tensor are numbers; asking for them would copy them.
    if message.DESCRIPTOR.name == "TensorProto":
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in value if field.is_repeated else (value,):
                yield from _messages(child)


def _locations(tensor: Any) -> set[str]:
    """Files that a tensor is to be read from; an empty name where it does not say which."""
    stated = {entry.value for entry in tensor.external_data if entry.key == LOCATION}
    outside = tensor.data_location == tensor.EXTERNAL or len(tensor.external_data) > 0
    return stated or ({""} if outside else set())

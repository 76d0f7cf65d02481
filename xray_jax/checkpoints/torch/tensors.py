"""Tensors and numpy arrays from pickle values: what torch and numpy would build of them, and nothing else."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import ml_dtypes
import numpy as np

from xray_jax.checkpoints.contents import CheckpointError, LazyArray
from xray_jax.checkpoints.torch.pickle_machine import DICTIONARIES
from xray_jax.checkpoints.torch.pickle_values import Blob, Call, Dict, Name, Persistent, brief

_TORCH_DTYPES: dict[str, Any] = {
    "float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16,
    "int64": np.int64, "int32": np.int32, "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "bool": np.bool_,
    "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64, "complex64": np.complex64,
    "complex128": np.complex128, "float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2,
}  # fmt: skip
_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "Untyped": "uint8",
    "ComplexFloat": "complex64", "ComplexDouble": "complex128",
}  # fmt: skip
_NUMPY_CODES = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1")
_MAX_DIMENSIONS = 16
_SIZE = Name("torch", "Size")


class Container(Protocol):
    """Where the bytes beside a pickle are.

    Attributes:
      big_endian: their byte order.
    """

    big_endian: bool

    def storage(self, key: str) -> np.ndarray:
        """All bytes of a storage, uint8, checked where the format has checksums."""
        ...

    def storage_bytes(self, key: str) -> int:
        """How many they are, without reading them."""
        ...

    def blob(self, blob: Blob) -> bytes:
        """A long string that was left in the pickle."""
        ...


def storage_dtype(kind: Any) -> np.dtype:
    """The dtype of a torch storage class.

    Raises:
      CheckpointError: when it is another kind of storage, or none.
    """
    if isinstance(kind, Name) and kind.module in ("torch", "torch.cuda", "torch.storage"):
        name = _STORAGES.get(kind.name.removesuffix("Storage"))
        if name is not None and kind.name.endswith("Storage"):
            return np.dtype(_TORCH_DTYPES[name])
    raise CheckpointError(f"a storage of the kind {brief(kind)} is not read")


def storage_reference(reference: Any) -> tuple[np.dtype, str, int, tuple[int, int] | None]:
    """(dtype, key, elements, view) of torch's persistent id; view is (offset, elements) in old files, else None."""
    identity = reference.id if isinstance(reference, Persistent) else None
    if isinstance(reference, Call) and reference.calls(Name("torch.storage", "_load_from_bytes")):
        raise CheckpointError("pickle.dump wrote it; save it with torch.save(model.state_dict(), path)")
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise CheckpointError("a tensor's storage is not a reference to a torch storage: damaged")
    _, kind, key, _, count, *rest = identity
    if not isinstance(key, str | int):
        raise CheckpointError("a storage's key is no string: damaged")
    view = rest[0] if rest else None
    if view is not None:
        if not isinstance(view, tuple) or len(view) != 3:
            raise CheckpointError("a storage's view is not what torch writes: damaged")
        _, offset, length = view
        view = (_whole(offset), _whole(length))
    return storage_dtype(kind), str(key), _whole(count), view


def is_tensor(value: Any) -> bool:
    """Whether a stand-in is a tensor or an array of numbers, of whatever kind."""
    if not isinstance(value, Call) or not isinstance(value.function, Name):
        return False
    module, name = value.function.module, value.function.name
    if module in ("torch._utils", "torch._tensor"):
        return name.startswith("_rebuild")
    return _is_numpy(module) and name in ("_reconstruct", "_frombuffer")


def tensor(value: Any, container: Container) -> LazyArray:
    """The array of a stand-in for which `is_tensor` holds. Its bounds are checked now, its bytes are read later.

    Raises:
      CheckpointError: for kinds of tensors that are not plain arrays, for extents beyond the storage, and for whatever
        is done to a tensor once it is made: torch would load other numbers than are read here.
    """
    name, arguments = value.function.name, value.arguments
    if value.pairs or (value.state is not None and name != "_reconstruct"):
        raise CheckpointError("its pickle changes it after it was made: refused, save plain tensors")
    try:
        if name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            storage, offset, shape, strides, *rest = arguments
            _without_metadata(rest[2:])
            return _strided(storage, offset, shape, strides, None, container)
        if name == "_rebuild_tensor_v3":
            storage, offset, shape, strides, _, _, dtype, *rest = arguments
            _without_metadata(rest)
            return _strided(storage, offset, shape, strides, dtype, container)
        if name == "_rebuild_parameter":
            return tensor(arguments[0], container)
        if name == "_rebuild_parameter_with_state":
            inner, _, _, state = arguments
            _of_no_consequence(state)
            return tensor(inner, container)
        if name == "_rebuild_from_type_v2":
            function, _, inner, state = arguments
            _of_no_consequence(state)
            return tensor(Call(function, inner), container)
        if name == "_reconstruct":
            _, shape, dtype, fortran, data = value.state
            return _numpy_array(shape, dtype, fortran, data, container)
        if name == "_frombuffer":
            data, dtype, shape, order = arguments
            return _numpy_array(shape, dtype, order == "F", data, container)
    except (TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"its description is damaged ({type(error).__name__})") from error
    raise CheckpointError(f"tensors of the kind {name} are not read; save plain dense tensors")


def _without_metadata(rest: Sequence[Any]) -> None:
    """Refuses a tensor whose numbers torch negates or conjugates when it loads it."""
    if any(given is not None and not (isinstance(given, Dict) and not given.pairs) for given in rest):
        raise CheckpointError(
            "its pickle marks it as negated or conjugated: refused, save tensor.resolve_conj().resolve_neg()"
        )


def _of_no_consequence(state: Any) -> None:
    """Refuses attributes of a tensor that could be its numbers, as `data` and `real` are; `_private` ones are names."""
    for part in state if isinstance(state, tuple) else (state,):
        names = [name for name, _ in part.pairs] if isinstance(part, Dict) else [] if part is None else [brief(part)]
        if unknown := [n for n in names if not isinstance(n, str) or not n.startswith("_") or n.startswith("__")]:
            raise CheckpointError(f"its pickle sets its attribute {brief(unknown[0])}: refused, save plain tensors")


def plain(value: Any, depth: int = 2) -> Any:
    """Numbers, strings, and short lists of them, also numpy's; None for everything else."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and len(value) <= 64 and depth:
        return [plain(item, depth - 1) for item in value]
    if isinstance(value, Call) and isinstance(value.function, Name) and isinstance(value.arguments, tuple):
        if value.calls(_SIZE) and value.arguments:
            return plain(value.arguments[0], depth - 1) if depth else None
        if _is_numpy(value.function.module) and value.function.name == "scalar" and len(value.arguments) == 2:
            dtype, data = value.arguments
            raw = _bytes(data, None)
            code = _numpy_dtype(dtype)
            return np.frombuffer(raw, code)[0].item() if len(raw) == code.itemsize else None
    return None


def _strided(storage: Any, offset: Any, shape: Any, strides: Any, dtype_name: Any, container: Container) -> LazyArray:
    stored, key, count, view = storage_reference(storage)
    available = container.storage_bytes(key)
    if available != count * stored.itemsize:
        raise CheckpointError(f"storage {key} has {available} bytes, its tensor declares {count} x {stored}: damaged")
    start, length = 0, available
    if view is not None:
        start, length = view[0] * stored.itemsize, view[1] * stored.itemsize
    dtype = stored
    if dtype_name is not None:
        known = isinstance(dtype_name, Name) and dtype_name.module == "torch" and dtype_name.name in _TORCH_DTYPES
        if not known:
            raise CheckpointError(f"tensors of the dtype {brief(dtype_name)} are not read")
        dtype = np.dtype(_TORCH_DTYPES[dtype_name.name])
    sizes, steps = _shape(shape), _shape(strides)
    if len(sizes) != len(steps):
        raise CheckpointError("its shape and its strides differ in length: damaged")
    start += _whole(offset) * dtype.itemsize
    if 0 not in sizes:
        reach = 1 + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
        if start + reach * dtype.itemsize > (length if view is None else view[0] * stored.itemsize + length):
            raise CheckpointError(f"its elements reach beyond storage {key}: damaged")
        if start + reach * dtype.itemsize > available:
            raise CheckpointError(f"its view reaches beyond storage {key}: damaged")

    def read() -> np.ndarray:
        if 0 in sizes:
            return np.zeros(sizes, dtype)
        data = container.storage(key)
        if container.big_endian:
            data = _swapped(data, dtype)
        # The constructor checks again that shape and strides stay inside the buffer.
        return np.ndarray(sizes, dtype, data, start, tuple(step * dtype.itemsize for step in steps))

    return LazyArray(sizes, dtype, read)


def _swapped(data: np.ndarray, dtype: np.dtype) -> np.ndarray:
    word = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
    usable = len(data) // word * word
    return data[:usable].view(f"u{word}").byteswap().view(np.uint8)


def _numpy_array(shape: Any, dtype: Any, fortran: Any, data: Any, container: Container) -> LazyArray:
    sizes, code = _shape(shape), _numpy_dtype(dtype)
    read: Callable[[], bytes] = lambda: _bytes(data, container)  # noqa: E731

    def array() -> np.ndarray:
        raw = read()
        if len(raw) != math.prod(sizes) * code.itemsize:
            raise CheckpointError(f"an array of shape {sizes} has {len(raw)} bytes: damaged")
        return np.ndarray(sizes, code, raw, order="F" if fortran else "C")

    return LazyArray(sizes, code, array)


def _numpy_dtype(value: Any) -> np.dtype:
    """`numpy.dtype('f4', False, True)` with the state (3, '<', ...): plain numbers only."""
    if isinstance(value, Call) and value.calls(Name("numpy", "dtype")) and value.arguments[0] in _NUMPY_CODES:
        order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "|"
        if order in ("<", ">", "|", "="):
            return np.dtype(value.arguments[0]).newbyteorder(order)
    raise CheckpointError("arrays of objects or records are not read")


def _bytes(value: Any, container: Container | None) -> bytes:
    if isinstance(value, Call) and value.calls(Name("_codecs", "encode")) and value.arguments[1:] == ("latin1",):
        # How protocol 2 spells bytes.
        text = value.arguments[0]
        if isinstance(text, Blob) and container is not None:
            return container.blob(text).decode("utf-8").encode("latin1")
        return text.encode("latin1")
    if isinstance(value, Call) and value.calls(Name("__builtin__", "bytes"), Name("builtins", "bytes")):
        return b""
    if isinstance(value, Blob) and container is not None:
        return container.blob(value)
    if isinstance(value, str):
        return value.encode("latin1")
    if isinstance(value, bytes):
        return value
    raise CheckpointError("an array's bytes are not bytes: damaged")


def _is_numpy(module: str) -> bool:
    return module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, Call) and value.calls(_SIZE):
        (value,) = value.arguments
    if not isinstance(value, list | tuple) or len(value) > _MAX_DIMENSIONS:
        raise CheckpointError("a shape is no list of numbers: damaged")
    return tuple(_whole(item) for item in value)


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise CheckpointError(f"expected a size, got {brief(value)!r}: damaged")
    return value


def pairs(value: Any) -> Sequence[tuple[Any, Any]] | None:
    """Items of a dictionary or ordered dictionary; None for everything else."""
    if isinstance(value, Dict) or (isinstance(value, Call) and value.calls(*DICTIONARIES)):
        return value.pairs
    return None

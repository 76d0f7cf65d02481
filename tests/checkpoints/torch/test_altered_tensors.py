"""Tensors that a pickle changes after it made them: torch would load other numbers than are read here."""

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from xray_jax.checkpoints import CheckpointError, formats

torch = pytest.importorskip("torch", reason="torch is the reference here (extra `test`)")


def name(module: str, attribute: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value)) + value.encode()


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + pickle.MARK + b"".join(arguments) + pickle.TUPLE + pickle.REDUCE


def numbers(*values: int) -> bytes:
    return pickle.MARK + b"".join(pickle.BININT1 + bytes([value]) for value in values) + pickle.TUPLE


def storage(key: str) -> bytes:
    kind = name("torch", "FloatStorage")
    return pickle.MARK + text("storage") + kind + text(key) + text("cpu") + b"K\x04" + pickle.TUPLE + pickle.BINPERSID


NO_HOOKS = call(name("collections", "OrderedDict"))
TENSOR = call(
    name("torch._utils", "_rebuild_tensor_v2"),
    storage("0"), b"K\x00", numbers(4), numbers(1), pickle.NEWFALSE, NO_HOOKS,
)  # fmt: skip
OTHER = TENSOR.replace(text("0"), text("1"))
STATE = pickle.MARK + storage("1") + b"K\x00" + numbers(4) + numbers(1) + pickle.TUPLE
ATTRIBUTE = pickle.EMPTY_DICT + text("data") + OTHER + pickle.SETITEM
CHANGED = {
    "set by BUILD": TENSOR + STATE + pickle.BUILD,
    "set item": TENSOR + numbers(0) + pickle.BINFLOAT + struct.pack(">d", 99.0) + pickle.SETITEM,
    "an attribute": call(
        name("torch._utils", "_rebuild_parameter_with_state"), TENSOR, pickle.NEWFALSE, NO_HOOKS, ATTRIBUTE
    ),
    "an attribute of its type": call(
        name("torch._tensor", "_rebuild_from_type_v2"),
        name("torch._utils", "_rebuild_tensor_v2"),
        name("torch.nn.parameter", "Parameter"),
        pickle.MARK + storage("0") + b"K\x00" + numbers(4) + numbers(1) + pickle.NEWFALSE + NO_HOOKS + pickle.TUPLE,
        ATTRIBUTE,
    ),
}


def write(path: Path, tensor: bytes) -> Path:
    """A state dict of one tensor that begins as 0, 1, 2, 3; the other storage holds 99."""
    torch.save({"w": torch.arange(4.0), "z": torch.full((4,), 99.0)}, path.with_name("from_torch.pt"))
    stream = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + text("fc.weight") + tensor + pickle.SETITEM + pickle.STOP
    with zipfile.ZipFile(path.with_name("from_torch.pt")) as made, zipfile.ZipFile(path, "w") as archive:
        for member in made.namelist():
            archive.writestr(member, stream if member.endswith("/data.pkl") else made.read(member))
    return path


def loaded(path: Path, weights_only: bool = True) -> np.ndarray:
    return np.asarray(torch.load(path, weights_only=weights_only)["fc.weight"].detach())


@pytest.mark.parametrize("kind", CHANGED)
def test_what_torch_would_change_is_refused(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "changed.pt", CHANGED[kind])
    with pytest.raises(CheckpointError, match=r"leaf fc\.weight: its pickle (changes it|sets its attribute data)"):
        formats.read(path)
    # Which is no matter of taste: torch gives other numbers, even as plain weights, where it refuses items alone.
    assert 99.0 in loaded(path, weights_only=kind != "set item")


def test_the_same_file_without_the_change_opens(tmp_path: Path) -> None:
    path = write(tmp_path / "plain.pt", TENSOR)
    assert np.asarray(formats.read(path).arrays["fc.weight"]).tolist() == loaded(path).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("zipped", [True, False])
def test_negated_views_are_refused(zipped: bool, tmp_path: Path) -> None:
    torch.save({"w": torch._neg_view(torch.arange(4.0))}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="leaf w: its pickle marks it as negated or conjugated"):
        formats.read(tmp_path / "a.pt")


def test_private_attributes_change_nothing(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.arange(4.0))
    parameter._is_initialised = True
    torch.save({"w": parameter}, tmp_path / "a.pt")
    assert np.asarray(formats.read(tmp_path / "a.pt").arrays["w"]).tolist() == [0, 1, 2, 3]

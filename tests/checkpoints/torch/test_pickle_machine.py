"""What the pickle machine allows itself: every opcode has its price."""

import io
import tracemalloc
import zipfile

import pytest

from xray_jax.checkpoints import CheckpointError, formats
from xray_jax.checkpoints.torch.pickle_machine import OBJECT_BYTES, Machine
from xray_jax.checkpoints.torch.pickle_opcodes import OPERATIONS


def test_interpreter_costs_bound_what_it_allocates():
    """The books of the pickle machine against what Python really allocates, for each kind of growth."""
    for unit, start in ((b"]", b""), (b"}", b""), (b")R", b"N"), (b"\x85", b"N"), (b"Q", b"N"), (b"G12345678", b"")):
        data = start + unit * 20_000
        tracemalloc.start()
        machine = Machine(io.BytesIO(data), 0, len(data))
        while machine.position < len(data):
            OPERATIONS[machine.take(1)[0]](machine)
        used = tracemalloc.get_traced_memory()[0] - len(data)
        tracemalloc.stop()
        assert used <= 1.1 * (OBJECT_BYTES - machine.left) + 4096, unit


@pytest.mark.parametrize("opcode", [b"\x94", b"Q", b"c" + b"m\nn\n" + b"0"])
def test_no_opcode_is_for_nothing(opcode, tmp_path):
    """A few deflated kilobytes of one opcode are refused before they fill the memory."""
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}" + opcode * 3_000_000 + b".")
    with pytest.raises(CheckpointError, match=r"its pickle take more than|has no end"):
        formats.read(tmp_path / "a.pt")

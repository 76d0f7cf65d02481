"""The interpreter of pickles: to pickle values, with nothing imported or called, whatever the stream says.

An interpreter of our own, because `pickle.Unpickler` with overridden hooks would not do: its memo grows to any index
that a stream names, its containers hash hostile keys, and BUILD writes into objects.
"""

import struct
from typing import BinaryIO

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.torch.pickle_machine import Machine
from xray_jax.checkpoints.torch.pickle_opcodes import OPERATIONS
from xray_jax.checkpoints.torch.pickle_values import Pickle

_STOP = 0x2E


def read(file: BinaryIO, start: int, limit: int) -> Pickle:
    """One pickle at `start` of `file`, which must end before `limit`.

    Raises:
      CheckpointError: for a damaged stream, or one whose objects take more than `OBJECT_BYTES`.
    """
    file.seek(start)
    machine = Machine(file, start, limit)
    try:
        while (code := machine.take(1)[0]) != _STOP:
            operation = OPERATIONS.get(code)
            if operation is None:
                raise CheckpointError(f"byte {code:#x} at {machine.position - 1} is no pickle opcode: damaged")
            operation(machine)
        (value,) = machine.stack
        return Pickle(value, machine.position, machine.names, machine.references)
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        if isinstance(error, CheckpointError):
            raise
        # The stack, the memo or an argument is not what the opcode needs.
        raise CheckpointError(f"its pickle is damaged near byte {machine.position} ({type(error).__name__})") from error

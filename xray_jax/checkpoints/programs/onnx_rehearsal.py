"""The first parse of an ONNX file, as a program whose memory is bounded: `onnx_model` starts it on what is not small.

    python -P onnx_rehearsal.py BYTES < model.onnx

BYTES: what it may allocate beyond the parser itself, on Linux. Exits 0, or 3 with the reason on stdout when the file is
damaged; in any other way when memory was not enough. Imports nothing of this package, to start fast.
"""

import sys
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

_REFUSAL = 3


def _bound(allowed: int) -> None:
    """Limits this process to `allowed` bytes more than it has now."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + allowed
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    _bound(int(sys.argv[1]))
    try:
        onnx.ModelProto.FromString(sys.stdin.buffer.read())
    except DecodeError as error:
        print(error)
        sys.exit(_REFUSAL)

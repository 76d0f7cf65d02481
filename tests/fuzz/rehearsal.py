"""The process that looks at programs of `jax.export` first, kept from input to input: a fresh one takes seconds.

What it says is what `jax_export.check_stdin` says; an input that ends it, or at which the system ends it, is refused.
"""

import os
import struct
import subprocess
import sys
import time

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.programs.jax_export import ended

_LENGTH = struct.Struct(">I")
_ANSWER = struct.Struct(">Id")
"""Bytes of what it says, and seconds of the processor that it has had."""


class Rehearsal:
    """Starts a process when there is none, and asks it.

    Attributes:
      seconds: of the processor, that it and those before it have had.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._of_others = 0.0
        self.seconds = 0.0

    def start(self) -> None:
        """Makes sure that there is a process to ask."""
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-c", "from tests.fuzz.rehearsal import main; main()"]
            environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def stop(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __call__(self, data: bytes) -> None:
        """In place of `jax_export._rehearse`."""
        import resource  # of Unix only

        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(_LENGTH.pack(len(data)) + data)
        self._process.stdin.flush()
        head = self._process.stdout.read(_ANSWER.size)
        if not head:
            status = self._process.wait()
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.seconds = self._of_others = usage.ru_utime + usage.ru_stime
            raise CheckpointError(ended(status, len(data)))
        length, seconds = _ANSWER.unpack(head)
        self.seconds = self._of_others + seconds
        if reason := self._process.stdout.read(length).decode(errors="replace"):
            raise CheckpointError(reason.strip())


def main() -> None:
    """The other process."""
    import contextlib
    import io
    from unittest import mock

    from xray_jax.checkpoints.programs import jax_export

    # An endless one costs a search this much, and a new process.
    jax_export.PARSING_SECONDS = 2
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    questions = sys.stdin.buffer
    while head := questions.read(_LENGTH.size):
        data = io.TextIOWrapper(io.BytesIO(questions.read(_LENGTH.unpack(head)[0])))
        said = io.StringIO()
        with mock.patch("sys.stdin", data), contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            jax_export.check_stdin()
        reason = said.getvalue().encode(errors="replace")
        answers.write(_ANSWER.pack(len(reason), time.process_time()) + reason)
        answers.flush()

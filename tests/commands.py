"""Commands of this package run in this process, because starting Python and JAX costs seconds each time."""

import contextlib
import importlib
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO
from unittest import mock

from absl import app, flags

from tests.scripts.test_help import COMMANDS, forget
from xray_jax.inference import compile_cache
from xray_jax.scripts import command, command_help

MODULES = {name: module for module, name in COMMANDS.items()} | {"xray-publish": "publish"}


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Nothing of another command is defined, and nothing of this one is left."""
    forget()
    held = dict(command_help._headings)
    # The cache is a setting of the whole process.
    with mock.patch.object(compile_cache, "enable_compile_cache"):
        try:
            yield
        finally:
            flags.FLAGS.unparse_flags()
            forget()
            command_help._headings.clear()
            command_help._headings.update(held)


def run(line: str) -> tuple[int, str]:
    """A command line as a shell has it, to its exit code and what it printed on either stream."""
    said = io.StringIO()
    return _code(shlex.split(line), said, said), said.getvalue()


def finished(name: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` says of this command in this folder: its exit code and both streams apart."""
    line, out, err = [name, *arguments], io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd or Path.cwd()):
        code = _code(line, out, err)
    return subprocess.CompletedProcess(line, code, out.getvalue(), err.getvalue())


def _code(line: Sequence[str], out: TextIO, err: TextIO) -> int:
    name, *arguments = line
    argv = [os.path.join("/usr/bin", name), *arguments]
    app.define_help_flags()
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with _alone(), mock.patch.object(sys, "argv", argv), streams[0], streams[1]:
        main = importlib.import_module(f"xray_jax.scripts.{MODULES[name]}").main
        try:
            command.parse(command_help.of(main), argv)
            return int(main())
        except SystemExit as left:
            return int(left.code or 0)
        except (ValueError, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return command.EXIT_USAGE if isinstance(error, ValueError) else command.EXIT_ERROR

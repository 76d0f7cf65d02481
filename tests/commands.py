"""Commands of this package run in this process, because starting Python and JAX costs seconds each time."""

import contextlib
import importlib
import io
import os
import shlex
import sys
from collections.abc import Iterator
from unittest import mock

from absl import app, flags

from tests.scripts.test_help import COMMANDS, forget
from xray_jax.inference import compile_cache
from xray_jax.scripts import command, command_help

MODULES = {name: module for module, name in COMMANDS.items()}


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
    name, *arguments = shlex.split(line)
    said, argv = io.StringIO(), [os.path.join("/usr/bin", name), *arguments]
    app.define_help_flags()
    streams = contextlib.redirect_stdout(said), contextlib.redirect_stderr(said)
    with _alone(), mock.patch.object(sys, "argv", argv), streams[0], streams[1]:
        main = importlib.import_module(f"xray_jax.scripts.{MODULES[name]}").main
        try:
            command.parse(command_help.of(main), argv)
            code = main()
        except SystemExit as left:
            code = int(left.code or 0)
        except ValueError as error:
            print(error)
            code = command.EXIT_USAGE
        except OSError as error:
            print(error)
            code = command.EXIT_ERROR
    return code, said.getvalue()

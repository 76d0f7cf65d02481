"""What every command shares: absl flags with help for people, usage errors that say what to type, honest exit codes.

absl exits with 1 for a usage error and Python does for a crash; here 1 is a finding, so usage errors exit with 4 and
anything unforeseen with 2.
"""

import contextlib
import difflib
import functools
import os
import shlex
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from absl import app, flags, logging

from xray_jax.report.terminal_text import printable
from xray_jax.scripts import command_help
from xray_jax.scripts.command_help import AnyFlag, Command

EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPTED = 2, 4, 130
HELP = frozenset({"--help", "-help", "--helpshort", "-helpshort", "-h", "-?"})
_WIDTH = 100
_SHOWN = 3


def say(text: str) -> None:
    """Prints on stderr, each line printable: what is said may quote a stranger's file, and that may hold escapes.

    Where nobody hears it any more (the terminal is gone), nothing is said.
    """
    with contextlib.suppress(OSError):
        print("\n".join(map(printable, text.split("\n"))), file=sys.stderr, flush=True)


def parse(command: Command, argv: Sequence[str]) -> list[str]:
    """Sets the flags and returns the program's name; help and usage errors end the program instead (0 and 4)."""
    if HELP.intersection(argv[1:]):
        print(command.help(shutil.get_terminal_size((_WIDTH, 24)).columns), end="")
        sys.exit(0)
    try:
        rest = _unvalidated(argv)
    except flags.UnrecognizedFlagError as error:
        _refuse(command, _about_unknown(command, error.flagname))
    except (flags.Error, ValueError) as error:
        _refuse(command, str(error))
    except SystemExit:
        # The other way out of parsing is --helpfull, which absl counts as a failure.
        sys.exit(0)
    if stray := rest[1:]:
        _refuse(command, _about_stray(command, stray))
    if missing := [flag for flag in command.required if flag.value is None]:
        _refuse(command, *(_about_missing(command, flag) for flag in missing))
    try:
        flags.FLAGS.validate_all_flags()
    except flags.Error as error:
        _refuse(command, str(error))
    if flags.FLAGS["verbosity"].using_default_value:
        # absl turns INFO on for programs right after parsing, for the root logger too: jax would name each accelerator
        # that this machine lacks, and orbax writes dozens of lines a checkpoint.
        logging.set_verbosity(logging.WARNING)
    return rest


def _unvalidated(argv: Sequence[str]) -> list[str]:
    """Sets the flags and returns what is left of `argv`: absl would complain of a missing flag before it says that."""
    flags.FLAGS.set_gnu_getopt(True)
    defined = [flags.FLAGS[name] for name in flags.FLAGS]
    held = [list(flag.validators) for flag in defined]
    try:
        for flag in defined:
            flag.validators.clear()
        return flags.FLAGS(list(argv))
    finally:
        for flag, validators in zip(defined, held, strict=True):
            flag.validators[:] = validators


def _refuse(command: Command, *messages: str) -> NoReturn:
    for message in messages:
        say(f"{command.name}: {message}")
    say("Pass --help for the flags.")
    sys.exit(EXIT_USAGE)


def _about_unknown(command: Command, name: str) -> str:
    known = {f"{no}{flag.name}" for flag in command.flags for no in ("", "no" if flag.boolean else "")}
    near = difflib.get_close_matches(name, sorted(known), 1, 0.7)
    return f"unknown flag --{name}" + "".join(f"; did you mean --{match}?" for match in near)


def _about_missing(command: Command, flag: AnyFlag) -> str:
    return f"--{flag.name} is required: {command_help.meaning(flag).rstrip('.')}; for example {command.example(flag)}"


def _about_stray(command: Command, stray: Sequence[str]) -> str:
    """What to type instead: the arguments under the first required flag that is not given."""
    message = f"unexpected arguments {list(stray)}; all inputs are flags"
    missing = [flag for flag in command.required if flag.value is None]
    if not missing:
        return message
    together = isinstance(missing[0], flags.MultiFlag)
    lines = [message + ". Did you mean"]
    for values in [stray] if together else [[value] for value in stray[:_SHOWN]]:
        lines.append("  " + _filled(command, missing, values))
    if not together and len(stray) > _SHOWN:
        lines.append(f"  and so on for the other {len(stray) - _SHOWN}")
    lines += [f"--{flag.name}: {command_help.meaning(flag)}" for flag in missing]
    return "\n".join(lines)


def _filled(command: Command, missing: Sequence[AnyFlag], values: Sequence[str]) -> str:
    """The command line with `values` for the first missing flag, examples for the others, and the flags given."""
    words = [command.name]
    for flag in command.flags:
        if flag is missing[0]:
            words += [f"--{flag.name}={shlex.quote(value)}" for value in values]
        elif flag in missing:
            words.append(command.example(flag))
        elif flag.present:
            given = (text.partition("=") for text in flag.serialize().split("\n"))
            words += [name + equals + (shlex.quote(value) if equals else "") for name, equals, value in given]
    return " ".join(words)


def _about_file(command: Command, error: OSError) -> str:
    """An error of this package as it is; of one of the system which flag named the file, and what to do."""
    if error.errno is None or not isinstance(error.filename, str | bytes):
        return str(error)
    path = os.fsdecode(error.filename)
    given = [flag for flag in command.flags if flag.present and isinstance(flag.value, str) and flag.value]
    named = [f"--{flag.name}={flag.value}" for flag in given if Path(path).is_relative_to(str(flag.value))]
    where = named[0] if named else path
    beside = f" ({path})" if named and not where.endswith(f"={path}") else ""
    return f"{where}: {error.strerror}{beside}; give a path that may be used, in a folder that is there"


def run(main: Callable[[], int]) -> None:
    """Runs `main` and exits with its code; a ValueError is a usage error, an OSError an error, both one line."""
    command = command_help.of(main)

    def guarded(_: Sequence[str]) -> int:
        try:
            return main()
        except BaseException as error:
            code = _explained(command, error)
        _leave_threads(code)
        return code

    app.run(guarded, flags_parser=functools.partial(parse, command))


def _explained(command: Command, error: BaseException) -> int:
    """Says what ended `main`, and returns the exit code.

    Raises:
      SystemExit: it is one, with a message of its own.
    """
    match error:
        case ValueError():
            say(f"{command.name}: {error}")
            return EXIT_USAGE
        case OSError():
            say(f"{command.name}: {_about_file(command, error)}")
            return EXIT_ERROR
        case KeyboardInterrupt():
            say(f"{command.name}: interrupted; the same command goes on from what is in --out")
            return EXIT_INTERRUPTED
        case SystemExit(code=int(code)):
            return code
        case Exception():
            say("".join(traceback.format_exception(error)).rstrip("\n"))
            return EXIT_ERROR
    raise error


def _leave_threads(code: int) -> None:
    """Ends the process now where other threads still work: Python waits for them at its end, for hours if they scan.

    Nothing asks for what they would find: the row file is closed.
    """
    if all(thread is threading.current_thread() or thread.daemon for thread in threading.enumerate()):
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)

"""What a command says of itself: its flags under plain headings, which it requires, an example of each."""

import contextlib
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

UNGROUPED = "Flags"
"""Heading of the flags that no `group` holds."""
NARROWEST = 40
_LONGEST_CHOICES = 60
AnyFlag = flags.Flag[Any]
_OURS = "xray_jax.scripts."
_headings: dict[str, str] = {}


@contextlib.contextmanager
def group(heading: str) -> Iterator[None]:
    """Flags defined inside are listed under `heading`; several groups of one heading are listed as one."""
    before = set(flags.FLAGS)
    yield
    _headings.update(dict.fromkeys(set(flags.FLAGS) - before, heading))


@dataclass(frozen=True)
class Command:
    """One command as its user sees it.

    Attributes:
      name: as it is typed, "xray-scan".
      about: the docstring of its module: a line that says what it does, examples (indented, one a line or continued
        by a backslash), exit codes.
      flags: its own, in the order of their definition, the main module's first; absl's and other libraries' left out.
    """

    name: str
    about: str
    flags: tuple[AnyFlag, ...]

    @property
    def required(self) -> list[AnyFlag]:
        return [flag for flag in self.flags if is_required(flag)]

    def example(self, flag: AnyFlag) -> str:
        """`--flag=value` as this command's examples have it, quoted for a shell; "--flag=..." where none has."""
        lines = re.sub(r"\\\n", " ", self.about).splitlines()
        own = " ".join(line for line in lines if line.split()[:1] == [self.name])
        found = re.search(rf"--{flag.name}=(?:'[^']*'|\S+)", own)
        return found[0] if found else f"--{flag.name}=..."

    def help(self, width: int) -> str:
        """The whole text of `--help`, in lines of at most `width` characters where words and examples allow it."""
        width = max(width, NARROWEST)
        first, _, rest = self.about.strip().partition("\n")
        needed = "".join(f" {usage(flag)}" for flag in self.required)
        parts = [_wrap(first, width), _wrap(f"Usage: {self.name}{needed} [flags]", width, hanging=4)]
        for heading, listed in self._groups().items():
            parts.append("\n".join([f"{heading}:", *(_entry(flag, width) for flag in listed)]))
        paragraphs = re.split(r"\n\s*\n", rest.strip("\n"))
        if paragraphs[0].startswith(" "):
            parts.append(f"Examples:\n{paragraphs.pop(0)}")
        parts += [text if text.startswith(" ") else _wrap(text, width) for text in paragraphs]
        parts.append(_wrap("Flags of the libraries underneath: --helpfull.", width))
        return "\n\n".join(part for part in parts if part) + "\n"

    def _groups(self) -> dict[str, list[AnyFlag]]:
        groups: dict[str, list[AnyFlag]] = {}
        for flag in self.flags:
            groups.setdefault(_headings.get(flag.name, UNGROUPED), []).append(flag)
        return groups


def of(main: Callable[[], int]) -> Command:
    """The command whose `main` this is, with the flags that its module and the modules beside it have defined."""
    module, program = main.__module__, Path(sys.argv[0])
    if program.name.startswith("xray-"):
        name = program.stem
    else:
        name = "xray-" + (program.stem if module == "__main__" else module.rpartition(".")[2])
    defined = flags.FLAGS.flags_by_module_dict()
    # absl files the flags of a module that runs as a program under the program's name.
    own = [flag for key in dict.fromkeys((module, sys.argv[0])) for flag in defined.get(key, [])]
    beside = [flag for key in defined if key.startswith(_OURS) for flag in defined[key]]
    return Command(name, sys.modules[module].__doc__ or "", tuple(dict.fromkeys([*own, *beside])))


def is_required(flag: AnyFlag) -> bool:
    """Whether a flag has no default and a validator that refuses its absence, which is how absl requires one."""
    checks = (getattr(validator, "checker", None) for validator in flag.validators)
    return flag.default is None and any(check is not None and not check(None) for check in checks)


def usage(flag: AnyFlag) -> str:
    """How a flag is typed: `--density=INTEGER`, `--probe=on|off|only`, `--[no]spread`."""
    if flag.boolean:
        return f"--[no]{flag.name}"
    if choices := _choices(flag):
        joined = "|".join(choices)
        return f"--{flag.name}={joined if len(joined) <= _LONGEST_CHOICES else 'NAME'}"
    kind = {flags.IntegerParser: "INTEGER", flags.FloatParser: "NUMBER", flags.ListParser: "TEXT,TEXT,..."}
    return f"--{flag.name}=" + next((word for parser, word in kind.items() if isinstance(flag.parser, parser)), "TEXT")


def meaning(flag: AnyFlag) -> str:
    """A flag's help as it was written: absl adds choices before it and how to repeat the flag after it."""
    return re.sub(r"^<[^>]*>: |;\s+repeat this option to specify a list of values$", "", flag.help)


def _choices(flag: AnyFlag) -> list[str]:
    return list(getattr(flag.parser, "enum_values", ()))


def _entry(flag: AnyFlag, width: int) -> str:
    """A flag's lines: how it is typed, what is true of it, what it does."""
    parser = flag.parser
    facts = ["required"] if is_required(flag) else []
    if isinstance(flag, flags.MultiFlag):
        facts.append("may be repeated")
    for bound, words in (("lower_bound", "at least"), ("upper_bound", "at most")):
        if (limit := getattr(parser, bound, None)) is not None:
            facts.append(f"{words} {limit}")
    if flag.default is not None:
        facts.append(f"default: {_value(flag.default)}")
    typed = usage(flag)
    does = meaning(flag)
    if typed.endswith("=NAME"):
        does = f"{does} One of: {', '.join(_choices(flag))}."
    head = f"{typed} ({'; '.join(facts)})" if facts else typed
    return "\n".join((_wrap(head, width, indent=2, hanging=4), _wrap(does, width, indent=6, hanging=0)))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _wrap(text: str, width: int, indent: int = 0, hanging: int = 0) -> str:
    return textwrap.fill(
        " ".join(text.split()), width, initial_indent=" " * indent, subsequent_indent=" " * (indent + hanging),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip

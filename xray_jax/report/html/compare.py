"""Two runs compared: which models changed their outcome, and what changed with it."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xray_jax.report.html.wording import ORDER
from xray_jax.report.row_source import Rows
from xray_jax.report.sentences import outcome, sentence
from xray_jax.report.terminal_text import printable
from xray_jax.rows.row import Row

_MOST_SETTINGS = 12


@dataclass(frozen=True)
class Before:
    """What an earlier run said of a model.

    Attributes:
      outcome: its verdict or status.
      sentence: in words.
      sha256, settings_hash, version: of the scan.
    """

    outcome: str
    sentence: str
    sha256: str | None
    settings_hash: str
    version: str


@dataclass(frozen=True)
class Change:
    """One model in both runs.

    Attributes:
      before, after: the outcomes. sentence: what the earlier run said.
      why: what differs between the two scans.
    """

    before: str
    after: str
    sentence: str
    why: tuple[str, ...]

    @property
    def is_change(self) -> bool:
        return self.before != self.after


class Earlier:
    """The rows of an earlier run.

    Attributes:
      name: what it is called.
      missing: names of models that only it has, once every row of the newer run was compared.
    """

    def __init__(self, rows: Rows, name: str) -> None:
        self.name = name
        self._rows: dict[str, Before] = {}
        self._settings: dict[str, Mapping[str, Any]] = {}
        for row in rows:
            self._settings.setdefault(row["settings_hash"], row["settings"])
            self._rows[row["id"]] = Before(
                outcome(row), printable(sentence(row)), row["sha256"], row["settings_hash"], printable(row["version"])
            )
        self._met: set[str] = set()

    def compare(self, row: Row) -> Change | None:
        """What became of a model; None where the earlier run does not have it."""
        before = self._rows.get(row["id"])
        if before is None:
            return None
        self._met.add(row["id"])
        return Change(before.outcome, outcome(row), before.sentence, tuple(self._why(before, row)))

    @property
    def missing(self) -> list[str]:
        return [printable(name) for name in self._rows if name not in self._met]

    def _why(self, before: Before, row: Row) -> Iterator[str]:
        if before.sha256 != row["sha256"]:
            yield "the checkpoint's content is another"
        if before.version != printable(row["version"]):
            yield f"version {before.version} of the tool, now {printable(row['version'])}"
        if before.settings_hash != row["settings_hash"]:
            names = list(differing(self._settings[before.settings_hash], row["settings"]))
            more = f" and {len(names) - _MOST_SETTINGS} more" if len(names) > _MOST_SETTINGS else ""
            yield f"other settings: {', '.join(names[:_MOST_SETTINGS]) or 'not said which'}{more}"


def differing(left: Any, right: Any, name: str = "") -> Iterator[str]:
    """Dotted names of the settings that differ."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in sorted({*left, *right}):
            if left.get(key) != right.get(key):
                yield from differing(left.get(key), right.get(key), f"{name}.{key}" if name else key)
    else:
        yield printable(name)


@dataclass
class Comparison:
    """What an overview says of two runs.

    Attributes:
      earlier: name of the earlier run.
      moves: (before, after) -> how many models.
      changed: (name, href, change) of models with another outcome.
      same: models with the same outcome. new: names of models that only the newer run has. gone: only the earlier.
    """

    earlier: str
    moves: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    changed: list[tuple[str, str, Change]] = dataclasses.field(default_factory=list)
    same: int = 0
    new: list[str] = dataclasses.field(default_factory=list)
    gone: list[str] = dataclasses.field(default_factory=list)

    def add(self, name: str, href: str, change: Change | None) -> None:
        """One model of the newer run."""
        if change is None:
            self.new.append(name)
        elif not change.is_change:
            self.same += 1
        else:
            key = change.before, change.after
            self.moves[key] = self.moves.get(key, 0) + 1
            self.changed.append((name, href, change))

    def sort(self) -> None:
        """The most urgent first."""
        self.changed.sort(key=lambda each: (ORDER.index(each[2].after), each[0]))

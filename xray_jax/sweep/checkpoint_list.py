"""What a sweep is asked to scan: a folder, a glob, one checkpoint, a JSON-lines manifest, or an address elsewhere."""

import glob
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from xray_jax import checkpoints
from xray_jax.checkpoints.contents import PART
from xray_jax.rows.names import part_ids
from xray_jax.sweep import local_folder
from xray_jax.sweep.sources.address import Address, SourceError, parse
from xray_jax.sweep.sources.listing import Sources, unique_names
from xray_jax.sweep.sources.options import SourceOptions
from xray_jax.sweep.sources.remote import Remote

SUFFIXES = (".jsonl", ".ndjson")
ELSEWHERE = Path()
"""The path of what is not on this machine yet."""
_FIELDS = ("id", "path", "architecture", "num_classes", "preprocess", "label", "target", "part")


class ManifestError(ValueError):
    """The list of checkpoints cannot be used; the message names the line and what was expected."""


@dataclass(frozen=True)
class Entry:
    """One checkpoint to scan.

    Attributes:
      id: unique in the sweep; names the row and its files.
      path: where the checkpoint is on this machine; `ELSEWHERE` before it is fetched.
      architecture, num_classes, preprocess: overrides of what the file itself says; None leaves it to the file.
      label, target: ground truth, where known: "clean" or "backdoored", and the target label.
      extra: other fields of the manifest line, carried into the row.
      listed: whether the user named it (in a manifest, or alone), rather than a folder that holds it.
      remote: where it is fetched from; None for a checkpoint of this machine.
      part: the network of a file that holds several; None where nothing says that it does.
    """

    id: str
    path: Path
    architecture: str | None = None
    num_classes: int | None = None
    preprocess: str | Mapping[str, Any] | None = None
    label: str | None = None
    target: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    listed: bool = False
    remote: Remote | None = None
    part: str | None = None

    @property
    def where(self) -> str:
        """Its path, or its address without secrets."""
        return str(self.path) if self.remote is None else self.remote.address.shown

    @property
    def without_secrets(self) -> "Entry":
        """The same, fetched: what says how, user and password or a signature among it, is left out."""
        if self.remote is None:
            return self
        address = replace(self.remote.address, full=self.remote.address.shown)
        return replace(self, remote=Remote(address, self.remote.revision))


def collect(
    spec: str,
    has_known_format: Callable[[Path], bool] = checkpoints.has_known_format,
    sources: SourceOptions | None = None,
) -> list[Entry]:
    """The checkpoints that `spec` names, sorted by id (a manifest keeps its own order).

    Args:
      spec: a manifest (`.jsonl`), a folder (searched in depth, hidden files left out), one checkpoint, a glob, or an
        address (`sources.address`) of one checkpoint or of a folder, bucket, repository or owner. `path#part` is one
        network of a file that holds several.
      has_known_format: tells a folder that *is* a checkpoint from one that holds checkpoints, and a file's content.
      sources: how addresses are asked.

    Raises:
      ManifestError: unreadable, malformed, or two entries with one id.
    """
    if (address := _address(spec, "--checkpoints")) is not None:
        return _unique(_remote(address, sources or SourceOptions()), address.shown)
    try:
        path, part = checkpoints.split_part(Path(spec).expanduser())
    except RuntimeError as error:
        raise ManifestError(f"--checkpoints={spec}: {error}; write the folder out") from error
    if part is not None:
        return [Entry(f"{path.name}#{part}", path, listed=True, part=part)]
    if path.suffix in SUFFIXES:
        return _unique(list(_read(path)), spec)
    try:
        if path.is_dir():
            inside = local_folder.listing(path, has_known_format)
            own, alone = str(path.relative_to(path.parent)), inside == [("", path)]
            names = unique_names([name or own for name, _ in inside])
            entries = [Entry(name, file, listed=alone) for name, (_, file) in zip(names, inside, strict=True)]
            return sorted(entries, key=lambda entry: entry.id)
        if path.exists():
            found, root = [path], path.parent
        else:
            # Links can lead `**` in circles: of all ways to one file the shortest counts.
            matches = sorted(map(Path, glob.glob(str(path), recursive=True)), key=lambda file: len(file.parts))
            found = sorted({file.resolve(): file for file in reversed(matches)}.values())
            root = _common(found) if found else path.parent
    except OSError as error:
        raise ManifestError(f"--checkpoints={spec}: cannot be read: {error.strerror} ({error.filename})") from error
    if not found and not glob.has_magic(spec):
        raise ManifestError(f"--checkpoints={spec}: no such file, folder or glob match")
    return _unique([Entry(str(file.relative_to(root)), file, listed=found == [path]) for file in found], spec)


def unsearched(spec: str) -> list[Path]:
    """Links to folders in a folder that `spec` names: what they hold has no entry."""
    folder = Path(spec).expanduser()
    return local_folder.unsearched(folder, checkpoints.has_known_format) if folder.is_dir() else []


def _address(text: str, where: str) -> Address | None:
    try:
        return parse(text)
    except SourceError as error:
        raise ManifestError(f"{where}: {error}") from error


def _remote(address: Address, options: SourceOptions) -> list[Entry]:
    if address.name.endswith(SUFFIXES):
        raise ManifestError(f"--checkpoints={address.shown}: a manifest must lie on this machine; fetch it first")
    try:
        found = Sources(options, Event()).find(address)
    except SourceError as error:
        raise ManifestError(f"--checkpoints: {error}") from error
    return [Entry(name, ELSEWHERE, listed=len(found) == 1, remote=remote) for name, remote in found]


def _common(paths: list[Path]) -> Path:
    parents = [list(path.parents)[::-1] for path in paths]
    shared = [level[0] for level in zip(*parents, strict=False) if len(set(level)) == 1]
    return shared[-1]


def _read(path: Path) -> Iterator[Entry]:
    try:
        # Not `splitlines`: JSON may hold other separators of lines as they are.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"manifest {path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"manifest {path}, line {number}"
        try:
            content = json.loads(line, parse_constant=_finite, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            # Beside what is no JSON: numbers of thousands of digits.
            raise ManifestError(f"{where}: no valid JSON ({error})") from error
        if not isinstance(content, dict) or not isinstance(content.get("path"), str):
            raise ManifestError(f"{where}: expected an object with a `path`")
        if not isinstance(content.get("preprocess"), str | dict | None):
            raise ManifestError(
                f"{where}: `preprocess` must be a name or an object, got {str(content['preprocess'])[:100]}"
            )
        if not isinstance(content.get("label"), str | int | float | None):
            raise ManifestError(
                f"{where}: `label` must be a word (clean, backdoored) or a number, got {str(content['label'])[:100]}"
            )
        for name, kind in (("num_classes", int), ("target", int), ("architecture", str), ("id", str), ("part", str)):
            if content.get(name) is not None and not isinstance(content[name], kind):
                raise ManifestError(f"{where}: `{name}` must be {kind.__name__}, got {content[name]!r}")
        if content.get("part") is not None and not PART.fullmatch(content["part"]):
            raise ManifestError(f"{where}: `part` must be the name of a network in the file, got {content['part']!r}")
        known = {name: content[name] for name in _FIELDS if content.get(name) is not None}
        extra = {name: value for name, value in content.items() if name not in _FIELDS}
        if (address := _address(content["path"], where)) is not None:
            known |= {"path": ELSEWHERE, "remote": Remote(address)}
            known.setdefault("id", address.shown)
        else:
            try:
                file = Path(content["path"]).expanduser()
            except RuntimeError as error:
                raise ManifestError(f"{where}: {error}") from error
            known["path"] = file if file.is_absolute() else path.parent / file
            known.setdefault("id", content["path"])
        if "part" in known and "id" not in content:
            known["id"] += f"#{known['part']}"
        yield Entry(**known, extra=extra, listed=True)


def _finite(text: str) -> float:
    """A number that rows can hold, too."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"numbers must be finite, got {text[:40]}")
    return value


def networks(entry: Entry, names: Iterable[str], taken: set[str]) -> list[Entry]:
    """The networks of a file that holds several, an entry each; what the manifest says is true of none in particular.

    Args:
      entry: of the file.
      names: of its networks.
      taken: ids of the batch scan, to which theirs are added.
    """
    ids = part_ids(entry.id, names, taken)
    return [replace(entry, id=ids[name], part=name, label=None, target=None, listed=True) for name in ids]


def _unique(entries: list[Entry], spec: str) -> list[Entry]:
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise ManifestError(f"--checkpoints={spec}: two entries have the id {entry.id!r}; give each its own `id`")
        seen.add(entry.id)
    return entries

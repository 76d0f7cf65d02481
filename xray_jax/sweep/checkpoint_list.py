"""What a sweep is asked to scan: a folder, a glob, one checkpoint, a JSON-lines manifest, or an address elsewhere."""

import glob
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from xray_jax import checkpoints
from xray_jax.sweep.sources.address import Address, SourceError, parse
from xray_jax.sweep.sources.grouping import CHECKPOINT_SUFFIXES as CHECKPOINT_SUFFIXES
from xray_jax.sweep.sources.listing import Sources
from xray_jax.sweep.sources.options import SourceOptions
from xray_jax.sweep.sources.remote import Remote

SUFFIXES = (".jsonl", ".ndjson")
ELSEWHERE = Path()
"""The path of what is not on this machine yet."""
_FIELDS = ("id", "path", "architecture", "num_classes", "preprocess", "label", "target")


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

    @property
    def where(self) -> str:
        """Its path, or its address without secrets."""
        return str(self.path) if self.remote is None else self.remote.address.shown


def collect(
    spec: str,
    is_checkpoint_folder: Callable[[Path], bool] = checkpoints.is_checkpoint_folder,
    sources: SourceOptions | None = None,
) -> list[Entry]:
    """The checkpoints that `spec` names, sorted by id (a manifest keeps its own order).

    Args:
      spec: a manifest (`.jsonl`), a folder (searched in depth, hidden files left out), one checkpoint, a glob, or an
        address (`sources.address`) of one checkpoint or of a folder, bucket, repository or owner.
      is_checkpoint_folder: tells a folder that *is* a checkpoint from one that holds checkpoints.
      sources: how addresses are asked.

    Raises:
      ManifestError: unreadable, malformed, or two entries with one id.
    """
    if (address := _address(spec, "--checkpoints")) is not None:
        return _unique(_remote(address, sources or SourceOptions()), address.shown)
    path = Path(spec).expanduser()
    if path.suffix in SUFFIXES:
        return _unique(list(_read(path)), spec)
    try:
        if path.is_dir():
            found = [path] if is_checkpoint_folder(path) else sorted(_walk(path, is_checkpoint_folder))
            root = path.parent if found == [path] else path
        elif path.exists():
            found, root = [path], path.parent
        else:
            # Links can lead `**` in circles: of all ways to one file the shortest counts.
            matches = sorted(map(Path, glob.glob(str(path), recursive=True)), key=lambda file: len(file.parts))
            found = sorted({file.resolve(): file for file in reversed(matches)}.values())
            root = _common(found) if found else path.parent
    except OSError as error:
        raise ManifestError(f"--checkpoints={spec}: cannot be read: {error.strerror} ({error.filename})") from error
    if not found and not path.is_dir() and not glob.has_magic(spec):
        raise ManifestError(f"--checkpoints={spec}: no such file, folder or glob match")
    return _unique([Entry(str(file.relative_to(root)), file, listed=found == [path]) for file in found], spec)


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


def _walk(folder: Path, is_checkpoint_folder: Callable[[Path], bool]) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        # A link to a folder could lead in a circle, or out of what the user asked to scan.
        if entry.is_dir() and not entry.is_symlink():
            if is_checkpoint_folder(entry):
                yield entry
            else:
                yield from _walk(entry, is_checkpoint_folder)
        elif not entry.is_dir():
            yield entry


def _read(path: Path) -> Iterator[Entry]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"manifest {path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"manifest {path}, line {number}"
        try:
            content = json.loads(line)
        except json.JSONDecodeError as error:
            raise ManifestError(f"{where}: no valid JSON ({error})") from error
        if not isinstance(content, dict) or not isinstance(content.get("path"), str):
            raise ManifestError(f"{where}: expected an object with a `path`")
        for name, kind in (("num_classes", int), ("target", int), ("architecture", str), ("id", str)):
            if content.get(name) is not None and not isinstance(content[name], kind):
                raise ManifestError(f"{where}: `{name}` must be {kind.__name__}, got {content[name]!r}")
        known = {name: content[name] for name in _FIELDS if content.get(name) is not None}
        extra = {name: value for name, value in content.items() if name not in _FIELDS}
        if (address := _address(content["path"], where)) is not None:
            known |= {"path": ELSEWHERE, "remote": Remote(address)}
            known.setdefault("id", address.shown)
        else:
            file = Path(content["path"]).expanduser()
            known["path"] = file if file.is_absolute() else path.parent / file
            known.setdefault("id", content["path"])
        yield Entry(**known, extra=extra, listed=True)


def _unique(entries: list[Entry], spec: str) -> list[Entry]:
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise ManifestError(f"--checkpoints={spec}: two entries have the id {entry.id!r}; give each its own `id`")
        seen.add(entry.id)
    return entries

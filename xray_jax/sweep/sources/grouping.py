"""Which files of a listing make up which checkpoint, by their names alone, as the readers of `checkpoints` see them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from xray_jax.checkpoints import SUFFIXES
from xray_jax.sweep.sources.remote import RemoteFile

_TREE = "_METADATA"
_ITEMS = ("default", "state", "params", "model", "variables")
_CONFIG, _SAFE, _INDEX, _TORCH = "config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
_INDEX_SUFFIX = ".safetensors.index.json"
_SAME_WEIGHTS = frozenset({_TORCH, "tf_model.h5", "flax_model.msgpack"})
_SHARD = re.compile(r"(?P<stem>.+)-\d+-of-\d+(?P<suffix>\.\w+)")


@dataclass(frozen=True)
class Group:
    """The files of one checkpoint.

    Attributes:
      name: of the checkpoint below what was listed: that of its one file or of its folder; "" for all that was listed.
      files: to be fetched, named below the folder that holds them.
      main: which of them is the checkpoint; "" for the folder.
      problem: why no reader has any use for them; None where one has.
    """

    name: str
    files: tuple[RemoteFile, ...]
    main: str = ""
    problem: str | None = None


def groups(files: Iterable[RemoteFile]) -> list[Group]:
    """The checkpoints among files, sorted by name; what no reader knows by its name is left out, and hidden files.

    A folder of orbax is one checkpoint with all its files. A folder with weights under Hugging Face's names is one,
    with config.json; the same weights for other frameworks beside them (pytorch_model.bin beside model.safetensors) are
    left out. Any other file of a known name is one.
    """
    left = {file.name: file for file in files if not any(part.startswith(".") for part in file.name.split("/"))}
    found = [*_orbax(left)]
    for folder in sorted({_folder(name) for name in left}):
        found += _hugging_face(folder, left)
    found += _shards(left)
    found += [
        Group(name, (_below(file, _folder(name)),), PurePosixPath(name).name)
        for name, file in left.items()
        if PurePosixPath(name).suffix.lower() in SUFFIXES
    ]
    return sorted(found, key=lambda group: group.name)


def _orbax(left: dict[str, RemoteFile]) -> list[Group]:
    roots = sorted({_root(_folder(name)) for name in left if PurePosixPath(name).name == _TREE}, key=len)
    return [Group(root, inside) for root in roots if (inside := _take(left, root, _inside(left, root)))]


def _root(folder: str) -> str:
    """The folder of the checkpoint whose tree lies in `folder`: above an item of it, and above a manager's step."""
    parts = folder.split("/") if folder else []
    if parts and parts[-1] in _ITEMS:
        parts.pop()
    if parts and parts[-1].isdecimal():
        parts.pop()
    return "/".join(parts)


def _hugging_face(folder: str, left: dict[str, RemoteFile]) -> list[Group]:
    here = {PurePosixPath(name).name: name for name in left if _folder(name) == folder}
    plain = [name for name in here if name.endswith(".safetensors") and not _SHARD.fullmatch(name)]
    if _SAFE in here:
        weights = [_SAFE]
    elif _INDEX in here:
        weights = [_INDEX, *_shards_of("model", ".safetensors", here)]
    elif _TORCH in here:
        weights = [_TORCH]
    elif _CONFIG in here and len(plain) == 1:
        weights = plain
    else:
        return []
    taken = _take(left, folder, [here[name] for name in [_CONFIG, *weights] if name in here])
    for name in [*_SAME_WEIGHTS, *_shards_of("pytorch_model", ".bin", here), "pytorch_model.bin.index.json"]:
        left.pop(here.get(name, ""), None)
    return [Group(folder, taken)]


def _shards(left: dict[str, RemoteFile]) -> list[Group]:
    """Sharded files under other names: with an index, or of no reader."""
    found = []
    sets = {(_folder(name), match["stem"], match["suffix"]) for name in left if (match := _shard(name))}
    for folder, stem, suffix in sorted(sets):
        if suffix.lower() not in SUFFIXES:
            continue
        here = {PurePosixPath(name).name: name for name in left if _folder(name) == folder}
        index = f"{stem}{_INDEX_SUFFIX}"
        named = [here[name] for name in (*_shards_of(stem, suffix, here), index) if name in here]
        whole = f"{folder}/{stem}{suffix}".lstrip("/")
        if whole in left:
            # Which lies beside them.
            whole = min(named)
        files = _take(left, folder, named)
        if suffix == ".safetensors" and index in here:
            found.append(Group(whole, files, index))
        elif suffix == ".safetensors":
            found.append(Group(whole, files, problem=f"its {len(files)} shards have no {index}; publish the index too"))
        else:
            problem = f"weights in {len(files)} shards of {suffix} are not read; save them as safetensors"
            found.append(Group(whole, files, problem=problem))
    return found


def _shard(name: str) -> re.Match[str] | None:
    return _SHARD.fullmatch(PurePosixPath(name).name)


def _shards_of(stem: str, suffix: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if (match := _shard(name)) and (match["stem"], match["suffix"]) == (stem, suffix)]


def _take(left: dict[str, RemoteFile], folder: str, names: Iterable[str]) -> tuple[RemoteFile, ...]:
    return tuple(_below(left.pop(name), folder) for name in names)


def _inside(left: dict[str, RemoteFile], folder: str) -> list[str]:
    return [name for name in left if not folder or name.startswith(f"{folder}/")]


def _below(file: RemoteFile, folder: str) -> RemoteFile:
    name = file.name.removeprefix(f"{folder}/") if folder else file.name
    return RemoteFile(name, file.key, file.size, file.tag, file.sha256)


def _folder(name: str) -> str:
    parent = str(PurePosixPath(name).parent)
    return "" if parent == "." else parent

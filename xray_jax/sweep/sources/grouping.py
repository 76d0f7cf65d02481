"""Which files of a listing make up which checkpoint, by their names alone, as the readers of `checkpoints` see them."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from xray_jax.checkpoints import SUFFIXES
from xray_jax.sweep.sources.remote import RemoteFile

_TREE, _STEP = "_METADATA", "_CHECKPOINT_METADATA"
_ITEMS = ("default", "state", "params", "model", "variables")
_CONFIG, _SAFE, _INDEX, _TORCH = "config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
_INDEX_SUFFIX = ".safetensors.index.json"
_SAME_WEIGHTS = (("pytorch_model", ".bin"), ("tf_model", ".h5"), ("flax_model", ".msgpack"))
_SHARD = re.compile(r"(?P<stem>.+)-\d+-of-\d+(?P<suffix>\.\w+)")


@dataclass(frozen=True)
class Group:
    """The files of one checkpoint.

    Attributes:
      name: of the checkpoint below what was listed: that of its one file or of its folder; "" for all that was listed.
      files: to be fetched, named below the folder that holds them.
      main: which of them is the checkpoint; "" for the folder.
      problem: why no reader has any use for them; None where one has.
      copies: the same weights for other frameworks beside them.
    """

    name: str
    files: tuple[RemoteFile, ...]
    main: str = ""
    problem: str | None = None
    copies: tuple[RemoteFile, ...] = ()


def groups(files: Iterable[RemoteFile]) -> list[Group]:
    """The checkpoints among files, sorted by name; what no reader knows by its name is left out, and hidden files.

    A folder of orbax is one checkpoint, with the files of its trees. A folder with weights under Hugging Face's names
    is one, with config.json; the same weights for other frameworks beside them (pytorch_model.bin beside
    model.safetensors) are copies. Any other file of a known name is one, in these folders too.
    """
    left = {file.name: file for file in files if not any(part.startswith(".") for part in file.name.split("/"))}
    found = [*_orbax(left)]
    for folder, here in sorted(_by_folder(left).items()):
        found += _hugging_face(folder, here, left)
    found += _shards(left)
    found += [
        Group(name, (_below(file, _folder(name)),), PurePosixPath(name).name)
        for name, file in left.items()
        if PurePosixPath(name).suffix.lower() in SUFFIXES
    ]
    return sorted(found, key=lambda group: group.name)


def _orbax(left: dict[str, RemoteFile]) -> list[Group]:
    trees = {_folder(name) for name in left if PurePosixPath(name).name == _TREE}
    roots: dict[str, str] = {}
    for tree in trees:
        # What describes a step lies above its items.
        if (step := f"{_folder(tree)}/{_STEP}".lstrip("/")) in left and _root(tree, trees) != tree:
            roots[step] = _root(tree, trees)
    for name in left:
        holder = next((folder for folder in above(name) if folder in trees), None)
        if holder is not None and PurePosixPath(name).suffix.lower() not in SUFFIXES:
            roots.setdefault(name, _root(holder, trees))
    inside: defaultdict[str, list[str]] = defaultdict(list)
    for name, root in roots.items():
        inside[root].append(name)
    return [Group(root, _take(left, root, names)) for root, names in inside.items()]


def _root(tree: str, trees: Collection[str]) -> str:
    """The folder of the checkpoint whose tree lies in `tree`: above an item of it, and above a manager's step."""
    root = tree
    for is_part in (_ITEMS.__contains__, str.isdecimal):
        parent, name = _folder(root), PurePosixPath(root).name
        if is_part(name) and parent not in trees:
            root = parent
    return root


def _by_folder(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Folder -> last part of a name -> name."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        found[_folder(name)][PurePosixPath(name).name] = name
    return found


def _hugging_face(folder: str, here: dict[str, str], left: dict[str, RemoteFile]) -> list[Group]:
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
    same = [
        name
        for stem, suffix in _SAME_WEIGHTS
        for name in (f"{stem}{suffix}", *_shards_of(stem, suffix, here), f"{stem}{suffix}.index.json")
    ]
    return [Group(folder, taken, copies=_take(left, folder, [here[name] for name in same if here.get(name) in left]))]


def _shards(left: dict[str, RemoteFile]) -> list[Group]:
    """Sharded files under other names: with an index, or of no reader."""
    found = []
    sets: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name in left:
        if match := _shard(name):
            sets[_folder(name), match["stem"], match["suffix"]].append(name)
    for (folder, stem, suffix), named in sorted(sets.items()):
        if suffix.lower() not in SUFFIXES:
            continue
        index = f"{stem}{_INDEX_SUFFIX}"
        indexed = suffix == ".safetensors" and f"{folder}/{index}".lstrip("/") in left
        if indexed:
            named.append(f"{folder}/{index}".lstrip("/"))
        whole = f"{folder}/{stem}{suffix}".lstrip("/")
        if whole in left:
            # Which lies beside them.
            whole = min(named)
        files = _take(left, folder, named)
        if indexed:
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


def _below(file: RemoteFile, folder: str) -> RemoteFile:
    name = file.name.removeprefix(f"{folder}/") if folder else file.name
    return RemoteFile(name, file.key, file.size, file.tag, file.sha256)


def above(name: str) -> Iterator[str]:
    """The folders that hold it, the nearest first; the last is "", where everything lies."""
    while name:
        name = _folder(name)
        yield name


def _folder(name: str) -> str:
    return name.rpartition("/")[0]

"""The arrays of each layer in the two ways in which Keras stores them, found by name; shapes are checked after.

Keras 3's `model.weights.h5` (inside `.keras`): `layers/<class>_<n>/vars/<i>`, numbered within a class in the model's
order of layers. The older whole-model `.h5`: `model_weights/<layer>/<weight name>`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.keras.graph import Tree, snake_case
from xray_jax.checkpoints.keras.hdf5 import Node

Expected = Mapping[str, Mapping[str, tuple[int, ...]]]
Found = dict[str, dict[str, np.ndarray]]

_ROOTS = ("layers", "_layer_checkpoint_dependencies")
_ROLES = {
    "W": "kernel",
    "b": "bias",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
    "alphas": "alpha",
    "count": "_count",
}
_KERAS_1 = re.compile(r".*_(W|b|gamma|beta|running_mean|running_std|alphas)$")


def from_keras3(root: Node, tree: Tree, expected: Expected) -> Found:
    """Arrays of `model.weights.h5`.

    Raises:
      CheckpointError: naming the layer without weights.
    """
    # Keras 2.12 to 2.15 on Windows wrote backslashes into the names.
    arrays = {path.replace("\\", "/"): node for path, node in root.walk()}
    names = _names(root)
    found: Found = {}
    _collect(arrays, names, "", tree, expected, found)
    return found


def _names(node: Node, path: str = "") -> dict[str, str]:
    """Group -> name of the layer that it belongs to, where Keras stored it."""
    names: dict[str, str] = {}
    for child in node.children:
        group = node[child]
        if not group.is_group:
            continue
        here = f"{path}{child}".replace("\\", "/")
        if here.endswith("vars"):
            name = group.attributes().get("name")
            if isinstance(name, str):
                names[here[: -len("/vars")]] = name
        else:
            names.update(_names(group, here + "/"))
    return names


def _collect(
    arrays: Mapping[str, Node], names: Mapping[str, str], path: str, tree: Tree, expected: Expected, found: Found
) -> None:
    root = next((f"{path}{r}/" for r in _ROOTS if any(a.startswith(f"{path}{r}/") for a in arrays)), f"{path}layers/")
    folders = {a[len(root) :].split("/", 1)[0] for a in arrays if a.startswith(root)}
    named = {names[root + folder]: folder for folder in folders if root + folder in names}
    of_class: dict[str, list[str]] = {}
    for each in sorted(folders, key=_counter):
        of_class.setdefault(_counter(each)[0], []).append(each)
    for name, kind, _, target in tree.layers:
        if isinstance(target, str) and not expected.get(target):
            continue
        candidates = of_class.get(snake_case(kind), [])
        folder: str | None = named.get(name)
        if folder is None and candidates and root + candidates[0] not in names:
            folder = candidates.pop(0)
        if folder is None:
            if isinstance(target, Tree) and not _owns(target, expected):
                continue
            raise CheckpointError(f"layer {name!r} ({kind}): the file has no weights for it under {root}")
        if isinstance(target, Tree):
            _collect(arrays, names, f"{root}{folder}/", target, expected, found)
            continue
        own = f"{root}{folder}/vars/"
        stored = {a[len(own) :]: node for a, node in arrays.items() if a.startswith(own)}
        wanted = list(expected[target])
        if set(stored) != {str(i) for i in range(len(wanted))}:
            raise CheckpointError(
                f"layer {name!r} ({kind}): expected {len(wanted)} weights {wanted}, got {len(stored)}"
            )
        found[target] = {role: stored[str(i)].array() for i, role in enumerate(wanted)}


def _counter(folder: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.*?)(?:_(\d+))?", folder)
    assert match is not None
    return match[1], int(match[2] or 0)


def _owns(tree: Tree, expected: Expected) -> bool:
    return any(_owns(t, expected) if isinstance(t, Tree) else bool(expected.get(t)) for *_, t in tree.layers)


def from_legacy(group: Node, tree: Tree, expected: Expected) -> Found:
    """Arrays of a whole-model `.h5`.

    Raises:
      CheckpointError: naming the layer whose weights are missing, extra or cannot be told apart.
    """
    found: Found = {}
    for name, kind, trains, target in tree.layers:
        leaves = [_Leaf(name, kind, trains, target)] if isinstance(target, str) else list(_leaves(target, trains))
        leaves = [leaf for leaf in leaves if expected.get(leaf.key)]
        if leaves:
            owners = _by_owner(group[name], single=len(leaves) == 1)
            for leaf, stored in _pair(leaves, owners, f"layer {name!r} ({kind})"):
                found[leaf.key] = _roles(stored, expected[leaf.key], f"layer {leaf.name!r} ({leaf.kind})")
    return found


class _Leaf(NamedTuple):
    name: str
    kind: str
    trains: bool
    key: str


def _leaves(tree: Tree, trains: bool) -> Iterator[_Leaf]:
    for name, kind, own, target in tree.layers:
        if isinstance(target, Tree):
            yield from _leaves(target, trains and own)
        else:
            yield _Leaf(name, kind, trains and own, target)


def _by_owner(layer: Node, single: bool) -> dict[str, dict[str, np.ndarray]]:
    """Weights of one entry as {owner: {role: array}}, in the file's order. A single layer has one owner."""
    attributes = layer.attributes()
    listed = attributes.get("weight_names")
    if listed is None:
        # Long lists are split into weight_names0, weight_names1, ...
        parts = sorted((int(k[12:]), v) for k, v in attributes.items() if re.fullmatch(r"weight_names\d+", k))
        listed = [name for _, part in parts for name in part]
    owners: dict[str, dict[str, np.ndarray]] = {}
    for path in listed:
        node = layer
        for part in str(path).split("/"):
            node = node[part]
        owner, role = _owner_and_role(str(path))
        owner = "" if single else owner
        if role in owners.setdefault(owner, {}):
            raise CheckpointError(f"{layer.path}: two weights are called {role}")
        owners[owner][role] = node.array()
    return owners


def _owner_and_role(path: str) -> tuple[str, str]:
    path = re.sub(r":\d+$", "", path)
    owner, _, role = path.rpartition("/")
    if match := _KERAS_1.fullmatch(role):
        owner, role = owner or role[: match.start(1) - 1], match[1]
    return owner, _ROLES.get(role, role)


def _pair(
    leaves: list[_Leaf], owners: Mapping[str, dict[str, np.ndarray]], where: str
) -> Iterator[tuple[_Leaf, dict[str, np.ndarray]]]:
    """Each layer of an entry with its weights, by name.

    TensorFlow's names sometimes carry another number than the layer's. What has no namesake follows the order that
    the format defines: a model lists its trainable layers first.
    """
    if len(leaves) != len(owners):
        raise CheckpointError(f"{where}: the model has {len(leaves)} layers with weights in it, the file {len(owners)}")
    by_name: dict[str, list[str]] = {}
    for owner in owners:
        by_name.setdefault(owner.rpartition("/")[2], []).append(owner)
    counts = Counter(leaf.name for leaf in leaves)
    matched = {
        leaf.name: by_name[leaf.name][0]
        for leaf in leaves
        if counts[leaf.name] == 1 and len(by_name.get(leaf.name, [])) == 1
    }
    free = (owner for owner in owners if owner not in matched.values())
    for leaf in sorted(leaves, key=lambda leaf: not leaf.trains):
        yield leaf, owners[matched[leaf.name] if leaf.name in matched else next(free)]


def _roles(stored: dict[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], where: str) -> dict[str, np.ndarray]:
    # Keras 3 calls a depthwise kernel "kernel".
    if "depthwise_kernel" in expected and "kernel" in stored:
        stored["depthwise_kernel"] = stored.pop("kernel")
    if set(stored) != set(expected):
        raise CheckpointError(f"{where}: expected the weights {sorted(expected)}, the file has {sorted(stored)}")
    return stored
